//! Runs the seeds of the fuzz targets through their bodies.

#[path = "../../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/config.rs"]
mod targets;

#[test]
fn loaders_keep_their_promises_on_all_seeds() {
    seeds::run("config_yaml", targets::yaml);
}
