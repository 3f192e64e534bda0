//! Runs the seeds of the fuzz targets through their bodies.

use crate::targets;

#[path = "../../../../fuzz/src/seeds.rs"]
mod seeds;

#[test]
fn the_server_keeps_its_promises_on_all_seeds() {
    seeds::run("smtp_server", targets::server);
}

#[test]
fn the_client_keeps_its_promises_on_all_seeds() {
    seeds::run("smtp_client", targets::client);
}

#[test]
fn content_is_the_same_however_it_is_cut_on_all_seeds() {
    seeds::run("smtp_data", targets::data);
}

#[test]
fn a_proxy_header_is_the_same_however_it_is_read_on_all_seeds() {
    seeds::run("proxy_header", targets::proxy_header);
}
