//! Mathematical chapter, and the random numbers that belong to *Cryptographic*.

use hsl::host::Registry;

use crate::args;

/// Registers the chapter.
pub(crate) fn register(registry: &mut Registry) {
    registry
        .pure_function("abs(number number) -> number", "without its sign", |_, args| {
            args::number(args, 0).abs()
        })
        .pure_function("ceil(number number) -> number", "rounded up", |_, args| {
            args::number(args, 0).ceil()
        })
        .pure_function("floor(number number) -> number", "rounded down", |_, args| {
            args::number(args, 0).floor()
        })
        .pure_function(
            "log(number number [, number base]) -> number",
            "the logarithm, natural without a base",
            |_, args| log(args::number(args, 0), args::number_opt(args, 1)),
        )
        .pure_function(
            "pow(number base, number exponent) -> number",
            "the base to the power of the exponent",
            |_, args| args::number(args, 0).powf(args::number(args, 1)),
        )
        .pure_function(
            "round(number number, number decimals = 0) -> number",
            "rounded to a number of decimals, halves away from zero",
            |_, args| round(args::number(args, 0), args::number(args, 1)),
        )
        .pure_function("sqrt(number number) -> number", "the square root", |_, args| {
            args::number(args, 0).sqrt()
        });
}

/// The exact functions for the bases that have one: `log(8, 2)` is 3, not nearly 3.
fn log(number: f64, base: Option<f64>) -> f64 {
    match base {
        None => number.ln(),
        Some(2.0) => number.log2(),
        Some(10.0) => number.log10(),
        Some(base) => number.ln() / base.ln(),
    }
}

/// Rounds the decimal text of the number, so that `round(1.005, 2)` is what a reader of the script
/// expects, 1.01: the shortest text that reads back to the number is what the script shows.
fn round(number: f64, decimals: f64) -> f64 {
    if decimals == 0.0 || !number.is_finite() || decimals.is_nan() {
        return number.round();
    }
    // Beyond ±308 nothing is left, or everything stays.
    let decimals = decimals.clamp(-400.0, 400.0) as i32;
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return number };
    let Ok(exponent) = exponent.parse::<i32>() else { return number };
    let Ok(shifted) = format!("{digits}e{}", exponent + decimals).parse::<f64>() else {
        return number;
    };
    let rounded = format!("{:e}", shifted.round());
    let Some((digits, exponent)) = rounded.split_once('e') else { return number };
    let Ok(exponent) = exponent.parse::<i32>() else { return number };
    if !shifted.is_finite() {
        return number;
    }
    format!("{digits}e{}", exponent - decimals).parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_what_the_reader_sees() {
        let table = [
            (2.5, 0.0, 3.0),
            (-2.5, 0.0, -3.0),
            (1.005, 2.0, 1.01),
            (1.45, 1.0, 1.5),
            (1234.5, -2.0, 1200.0),
            (0.1 + 0.2, 5.0, 0.3),
            (1e300, 5.0, 1e300),
            (5.0, -400.0, 0.0),
        ];
        for (number, decimals, expected) in table {
            assert_eq!(round(number, decimals), expected, "{number} {decimals}");
        }
        assert!(round(f64::NAN, 2.0).is_nan());
    }

    #[test]
    fn logarithms_of_powers_are_whole() {
        assert_eq!(log(8.0, Some(2.0)), 3.0);
        assert_eq!(log(1000.0, Some(10.0)), 3.0);
        assert_eq!(log(std::f64::consts::E, None), 1.0);
    }
}
