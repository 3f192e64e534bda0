//! Runs the seeds of the fuzz targets through their bodies.

#[path = "../../../fuzz/src/mail_auth.rs"]
mod mail_auth;
#[path = "../../../fuzz/src/peers.rs"]
mod peers;
#[path = "../../../fuzz/src/scripts.rs"]
mod scripts;
#[path = "../../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/hsl_std.rs"]
mod targets;

#[test]
fn decoders_keep_their_promises_on_all_seeds() {
    seeds::run("std_decoders", targets::decoders);
    seeds::run("std_certificates", targets::certificates);
}

#[test]
fn mail_authentication_keeps_its_promises_on_all_seeds() {
    seeds::run("mail_spf", mail_auth::spf);
    seeds::run("mail_dkim", mail_auth::dkim);
    seeds::run("mail_dmarc", mail_auth::dmarc);
}

#[test]
fn what_peers_answer_keeps_its_promises_on_all_seeds() {
    seeds::run("ldap_answers", peers::ldap_answers);
    seeds::run("http_answers", peers::http_answers);
}

#[test]
fn filters_of_searches_keep_their_promises_on_all_seeds() {
    seeds::run("ldap_filter", peers::ldap_filter);
}
