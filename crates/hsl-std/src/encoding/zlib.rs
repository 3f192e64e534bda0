//! `zlib_compress` and `zlib_uncompress` (5.9): zlib, gzip and raw deflate.
//!
//! Which of them is said as zlib itself says it, by the window bits: 8 to 15 for zlib (RFC 1950),
//! negative for raw deflate (RFC 1951), 16 more for gzip (RFC 1952); for reading, 32 more for zlib or
//! gzip, whichever it is, and 0 for the window of the header.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use hsl::host::{CallContext, Registry, Thrown};
use hsl::value::Value;

use crate::args;

/// Registers both functions.
pub(super) fn register(registry: &mut Registry) {
    registry
        .pure_function(
            "zlib_compress(string data [, number compression = -1 [, number windowbits = 15]]) \
             -> string",
            "compressed with a level of 0 to 9; negative window bits for raw deflate, 16 more for gzip",
            compress,
        )
        .pure_function(
            "zlib_uncompress(string data [, number windowbits = 15]) -> string or none",
            "uncompressed, none if it is damaged; 32 more window bits for zlib or gzip",
            uncompress,
        );
}

/// A format with the bits of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrap {
    Zlib(u8),
    Gzip(u8),
    Raw(u8),
    /// Zlib or gzip, by the first octets.
    Either(u8),
}

impl Wrap {
    fn parse(bits: i64) -> Option<Self> {
        // The smallest window is one that no encoder makes; the next one reads it as well.
        let window = |bits: i64| u8::try_from(bits).ok().filter(|bits| (8..=15).contains(bits));
        let window = |bits: i64| window(if bits == 0 { 15 } else { bits }).map(|bits| bits.max(9));
        match bits {
            ..0 => window(-bits).map(Self::Raw),
            0..16 => window(bits).map(Self::Zlib),
            16..32 => window(bits - 16).map(Self::Gzip),
            _ => window(bits - 32).map(Self::Either),
        }
    }
}

fn wrap(args: &[&Value], at: usize) -> Result<Wrap, Thrown> {
    let bits = args::number_opt(args, at).unwrap_or(15.0);
    let wrong = || Thrown::new(format!("zlib does not know the window bits {bits}"));
    Wrap::parse(bits as i64).ok_or_else(wrong)
}

fn compress(ctx: &mut CallContext<'_>, args: &[&Value]) -> Result<Value, Thrown> {
    let data = args::bytes(args, 0);
    let level = match args::number_opt(args, 1).unwrap_or(-1.0) {
        -1.0 => Compression::default(),
        level if (0.0..=9.0).contains(&level) => Compression::new(level as u32),
        level => return Err(Thrown::new(format!("zlib does not know the level {level}"))),
    };
    let mut encoder = match wrap(args, 2)? {
        Wrap::Zlib(bits) => Compress::new_with_window_bits(level, true, bits),
        Wrap::Raw(bits) => Compress::new_with_window_bits(level, false, bits),
        Wrap::Gzip(bits) => Compress::new_gzip(level, bits),
        Wrap::Either(_) => {
            return Err(Thrown::new("zlib_compress() makes zlib or gzip, not either"));
        }
    };
    // What does not compress grows by a few octets per block.
    ctx.charge_memory(data.len())?;
    ctx.charge_fuel(data.len() as u64 / OCTETS_PER_STEP);
    let mut out = Vec::with_capacity(data.len() / 2 + 64);
    loop {
        let rest = data.get(position(encoder.total_in())..).unwrap_or_default();
        out.reserve(PIECE_OCTETS);
        match encoder.compress_vec(rest, &mut out, FlushCompress::Finish) {
            Ok(Status::StreamEnd) => return Ok(out.into()),
            Ok(Status::Ok | Status::BufError) => {}
            Err(error) => return Err(Thrown::new(format!("zlib_compress(): {error}"))),
        }
    }
}

fn uncompress(ctx: &mut CallContext<'_>, args: &[&Value]) -> Result<Value, Thrown> {
    let data = args::bytes(args, 0);
    let is_gzip = data.starts_with(b"\x1f\x8b");
    let mut decoder = match wrap(args, 1)? {
        Wrap::Gzip(bits) => Decompress::new_gzip(bits),
        Wrap::Either(bits) if is_gzip => Decompress::new_gzip(bits),
        Wrap::Zlib(bits) | Wrap::Either(bits) => Decompress::new_with_window_bits(true, bits),
        Wrap::Raw(bits) => Decompress::new_with_window_bits(false, bits),
    };
    let mut out = Vec::new();
    loop {
        let rest = data.get(position(decoder.total_in())..).unwrap_or_default();
        let before = (decoder.total_in(), out.len());
        out.reserve(PIECE_OCTETS);
        let status = decoder.decompress_vec(rest, &mut out, FlushDecompress::None);
        let made = out.len() - before.1;
        // A small text may stand for a very long one: it is accounted for while it grows.
        args::charge_growth(ctx, made, out.len())?;
        ctx.charge_fuel(made as u64 / OCTETS_PER_STEP);
        match status {
            // What follows the end is not looked at, as zlib itself does it.
            Ok(Status::StreamEnd) => return Ok(out.into()),
            Ok(_) if made > 0 || decoder.total_in() > before.0 => {}
            // Nothing moves: the data is cut off.
            Ok(_) | Err(_) => return Ok(Value::None),
        }
    }
}

/// Octets are counted in 64 bits, texts are shorter.
fn position(total: u64) -> usize {
    usize::try_from(total).unwrap_or(usize::MAX)
}

const PIECE_OCTETS: usize = 64 << 10;
/// Work of one step of the machine, about.
const OCTETS_PER_STEP: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_bits_name_the_format() {
        let table = [
            (15, Some(Wrap::Zlib(15))),
            (8, Some(Wrap::Zlib(9))),
            (0, Some(Wrap::Zlib(15))),
            (-15, Some(Wrap::Raw(15))),
            (31, Some(Wrap::Gzip(15))),
            (47, Some(Wrap::Either(15))),
            (7, None),
            (-16, None),
            (48, None),
        ];
        for (bits, expected) in table {
            assert_eq!(Wrap::parse(bits), expected, "{bits}");
        }
    }
}
