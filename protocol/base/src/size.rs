//! Sizes and rates as people write them: `B`, `kB MB GB TB` (10³), `KiB MiB GiB TiB` (2¹⁰); rates
//! per second.

use thiserror::Error;

/// Why a size was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SizeError {
    /// No digits in front of the unit.
    #[error("`{0}` is no size: expected a number and a unit, like 512KiB or 1.5GB")]
    NoNumber(String),
    /// A unit that is none of ours.
    #[error("`{0}` has an unknown unit: use B, kB, MB, GB, TB, KiB, MiB, GiB or TiB")]
    UnknownUnit(String),
    /// More than 2^63 bytes.
    #[error("`{0}` is larger than any file")]
    TooLarge(String),
}

const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a size in bytes: `512KiB`, `1.5 GB`, `64MiB`, `4096`. Units are not case-sensitive, but
/// `K` alone is refused, since nobody knows whether it means 1000 or 1024.
///
/// # Errors
/// If there is no number, the unit is unknown, or the size is above 2^63.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = (&trimmed[..end], trimmed[end..].trim());
    let scale = match unit {
        "" => 1,
        _ => UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, scale)| *scale)
            .ok_or_else(|| SizeError::UnknownUnit(text.to_owned()))?,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(SizeError::NoNumber(text.to_owned()));
    }
    let too_large = || SizeError::TooLarge(text.to_owned());
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    let mut bytes = whole.checked_mul(u128::from(scale)).ok_or_else(too_large)?;
    let mut place = u128::from(scale);
    for digit in fraction.bytes().take(18) {
        bytes += u128::from(digit - b'0') * place / 10;
        place /= 10;
    }
    u64::try_from(bytes).ok().filter(|bytes| *bytes <= 1 << 63).ok_or_else(too_large)
}

/// Reads a rate in bytes per second: a size, with or without `/s`.
///
/// # Errors
/// As [`parse_size`].
pub fn parse_rate(text: &str) -> Result<u64, SizeError> {
    let trimmed = text.trim();
    parse_size(trimmed.strip_suffix("/s").unwrap_or(trimmed))
}

/// Writes a size for people, in binary units with one decimal: `300.0 MiB`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    const NAMES: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = bytes as f64;
    while scaled >= 1024.0 && unit + 1 < NAMES.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{scaled:.1} {}", NAMES[unit]) }
}

/// Writes a rate for people: `12.3 MiB/s`.
#[must_use]
pub fn format_rate(bytes_per_second: u64) -> String {
    format!("{}/s", format_size(bytes_per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("512KiB", 524_288),
            ("1.5 GB", 1_500_000_000),
            ("300MiB", 314_572_800),
            ("2kb", 2000),
            ("0.5KiB", 512),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_rate("1MB/s"), Ok(1_000_000));
        assert_eq!(parse_rate("1MB"), Ok(1_000_000));
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "MiB", "-1", "1.", ".5kB", "1..2MB", "1.2.3MB"] {
            assert!(
                matches!(parse_size(text), Err(SizeError::NoNumber(_) | SizeError::UnknownUnit(_))),
                "{text}"
            );
        }
        assert!(matches!(parse_size("5K"), Err(SizeError::UnknownUnit(_))));
        assert!(matches!(parse_size("99999999999TiB"), Err(SizeError::TooLarge(_))));
        assert!(matches!(
            parse_size("999999999999999999999999999999999999999999"),
            Err(SizeError::TooLarge(_))
        ));
    }

    #[test]
    fn sizes_read_back() {
        assert_eq!(format_size(1023), "1023 B");
        assert_eq!(format_size(314_572_800), "300.0 MiB");
        assert_eq!(format_rate(1 << 30), "1.0 GiB/s");
    }
}
