//! Runs the seeds of the fuzz targets through their bodies.

#[path = "../../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/dns.rs"]
mod targets;

#[test]
fn answers_keep_their_promises_on_all_seeds() {
    seeds::run("dns_answers", targets::answers);
}
