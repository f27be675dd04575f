//! Values of options that several groups of commands have: durations, and sizes within bounds.

use dunlin_base::parse_size;
use std::time::Duration;

/// The least memory budget in bytes: below it not even blocks of 16 KiB to a few peers fit.
pub(crate) const MIN_MEMORY: u64 = 1 << 20;
/// The smallest piece in bytes: one block (BEP 3).
pub(crate) const MIN_PIECE: u64 = 16 << 10;
/// The largest piece in bytes: above it resuming and blame get too coarse.
pub(crate) const MAX_PIECE: u64 = 64 << 20;
/// The longest time-out: a year. More than that is "for ever", and nothing waits for ever.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// Why the value of an option was refused. The person at the command line is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// No number or an unknown unit.
    #[error("`{0}` is no duration: write a number and ms, s, m or h, like 60s or 500ms")]
    Duration(String),
    /// Zero, or longer than a year.
    #[error("`{0}` is out of range: a time is above 0 and at most 366 days")]
    DurationRange(String),
    /// Not a size.
    #[error(transparent)]
    Size(#[from] dunlin_base::SizeError),
    /// Too little memory.
    #[error("`{0}` is too little: at least 1MiB is needed")]
    Memory(String),
    /// No power of two or out of bounds.
    #[error("`{0}` is no piece size: use a power of two from 16KiB to 64MiB, like 256KiB")]
    Piece(String),
}

/// Reads a duration: `60s`, `500ms`, `2m`, `1h`, `1.5s`, or plain seconds.
///
/// # Errors
/// If it is no duration, is zero, or is longer than a year.
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = || ValueError::Duration(text.to_owned());
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let unit_ns: u128 = match unit.trim() {
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return Err(wrong());
    }
    let range = || ValueError::DurationRange(text.to_owned());
    let whole: u128 = whole.parse().map_err(|_| range())?;
    let places = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
    let fraction: u128 = fraction.parse().map_err(|_| wrong())?;
    let ns = whole.checked_mul(unit_ns).ok_or_else(range)? + fraction * unit_ns / places;
    let ns = u64::try_from(ns).map_err(|_| range())?;
    Some(Duration::from_nanos(ns))
        .filter(|duration| !duration.is_zero() && *duration <= MAX_DURATION)
        .ok_or_else(range)
}

/// Reads a memory budget in bytes.
///
/// # Errors
/// If it is no size or below [`MIN_MEMORY`].
pub(crate) fn memory(text: &str) -> Result<u64, ValueError> {
    let bytes = parse_size(text)?;
    if bytes < MIN_MEMORY { Err(ValueError::Memory(text.to_owned())) } else { Ok(bytes) }
}

/// Reads a piece size in bytes.
///
/// # Errors
/// If it is no power of two from [`MIN_PIECE`] to [`MAX_PIECE`].
pub(crate) fn piece_size(text: &str) -> Result<u32, ValueError> {
    let bytes = parse_size(text)?;
    let good = bytes.is_power_of_two() && (MIN_PIECE..=MAX_PIECE).contains(&bytes);
    u32::try_from(bytes).ok().filter(|_| good).ok_or_else(|| ValueError::Piece(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        let cases = [
            ("60s", 60_000),
            ("60", 60_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1.5s", 1500),
            ("0.25", 250),
            ("1h", 3_600_000),
        ];
        for (text, ms) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "1 week", "1..2s", ".5s", "5.", "1.0000000001s"] {
            assert!(matches!(duration(text), Err(ValueError::Duration(_))), "{text}");
        }
        for text in ["0", "0ms", "9999999999999999999999999999999999999999s", "400000000s"] {
            assert!(matches!(duration(text), Err(ValueError::DurationRange(_))), "{text}");
        }
    }

    #[test]
    fn sizes_within_bounds() {
        assert_eq!(memory("64MiB"), Ok(64 << 20));
        assert!(memory("1023KiB").is_err());
        assert_eq!(piece_size("16KiB"), Ok(16 << 10));
        assert_eq!(piece_size("64MiB"), Ok(64 << 20));
        for text in ["8KiB", "128MiB", "48KiB", "0", "lots", "16EiB"] {
            assert!(piece_size(text).is_err(), "{text}");
        }
    }
}
