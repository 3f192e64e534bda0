//! AES with the two modes that scripts know.

use hsl::host::{CallContext, Registry, Thrown};
use hsl::value::Value;
use openssl::symm::{Cipher, Crypter, Mode};

use crate::args::{self, Options};

/// Registers `aes_encrypt` and `aes_decrypt`.
pub(super) fn register(registry: &mut Registry) {
    registry
        .pure_function(
            "aes_encrypt(string message, string key, string mode [, array options]) -> string or none",
            "encrypts with AES in mode ecb or cbc; options iv, padding",
            |ctx, args| aes(ctx, args, Mode::Encrypt),
        )
        .pure_function(
            "aes_decrypt(string message, string key, string mode [, array options]) -> string or none",
            "decrypts with AES in mode ecb or cbc; options iv, padding",
            |ctx, args| aes(ctx, args, Mode::Decrypt),
        );
}

/// `None` when key, initialisation vector or message do not fit.
fn aes(ctx: &mut CallContext<'_>, args: &[&Value], mode: Mode) -> Result<Value, Thrown> {
    let (message, key) = (args::bytes(args, 0), args::bytes(args, 1));
    let options = Options::new(args, 3);
    let iv = options.bytes("iv")?;
    let has_padding = options.boolean("padding", true)?;
    let is_cbc = match args::bytes(args, 2) {
        b"cbc" => true,
        b"ecb" => false,
        _ => return Err(Thrown::new(format!("{}() knows the modes ecb and cbc", ctx.name()))),
    };
    let cipher = match (key.len(), is_cbc) {
        (16, true) => Cipher::aes_128_cbc(),
        (24, true) => Cipher::aes_192_cbc(),
        (32, true) => Cipher::aes_256_cbc(),
        (16, false) => Cipher::aes_128_ecb(),
        (24, false) => Cipher::aes_192_ecb(),
        (32, false) => Cipher::aes_256_ecb(),
        _ => return Ok(Value::None),
    };
    let iv = match (is_cbc, iv) {
        (true, Some(iv)) if iv.len() == BLOCK_OCTETS => Some(iv),
        (true, _) => return Ok(Value::None),
        // Compat: ecb has none; one that is given does not matter.
        (false, _) => None,
    };
    ctx.charge_memory(message.len() + BLOCK_OCTETS)?;
    ctx.charge_fuel((message.len() / super::OCTETS_PER_STEP) as u64);
    let run = || {
        let mut crypter = Crypter::new(cipher, mode, key, iv)?;
        crypter.pad(has_padding);
        let mut out = vec![0; message.len() + BLOCK_OCTETS];
        let mut count = crypter.update(message, &mut out)?;
        count += crypter.finalize(out.get_mut(count..).unwrap_or_default())?;
        out.truncate(count);
        Ok::<_, openssl::error::ErrorStack>(out)
    };
    Ok(run().ok().into())
}

const BLOCK_OCTETS: usize = 16;
