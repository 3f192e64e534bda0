//! Runs the seeds of the fuzz targets through their bodies.

#[path = "../../../fuzz/src/seeds.rs"]
mod seeds;
#[path = "../../../fuzz/src/hsl_std.rs"]
mod targets;

#[test]
fn decoders_keep_their_promises_on_all_seeds() {
    seeds::run("std_decoders", targets::decoders);
}
