//! Holes: where a file has no data and reads as zeros.

use crate::fs::FsFile;
use bytes::Bytes;
use dunlin_metainfo::zero_hash;
use std::io;
use std::ops::Range;

/// Files up to this length are read as they are: asking for holes costs as much.
const SMALL: u64 = 64 * 1024;

/// Zeros are left out of a write in whole units of this many bytes, at multiples of it: large
/// enough that a file does not fall into crumbs, and a multiple of every file system's pages.
pub(crate) const UNIT: u64 = 64 * 1024;

/// Where a file has data.
#[derive(Debug)]
pub(crate) struct Holes {
    data: Vec<Range<u64>>,
    /// The hash of a piece of zeros, where there are holes at all.
    zeros: Option<[u8; 20]>,
}

impl Holes {
    /// Asks an open file.
    pub(crate) fn of(file: &dyn FsFile, piece_length: u32) -> io::Result<Holes> {
        let len = file.len()?;
        if len <= SMALL {
            return Ok(Holes { data: Vec::new(), zeros: None });
        }
        let data = file.data_ranges()?;
        let whole = matches!(data.as_slice(), [only] if *only == (0..len));
        Ok(Holes { zeros: (!whole).then(|| zero_hash(piece_length)), data })
    }

    /// The hash of the pieces in `range` if it is one hole.
    pub(crate) fn zeros(&self, range: &Range<u64>) -> Option<[u8; 20]> {
        self.zeros.filter(|_| is_hole(&self.data, range))
    }
}

/// Whether `range` touches none of the ranges in `data`, which are in order.
pub(crate) fn is_hole(data: &[Range<u64>], range: &Range<u64>) -> bool {
    let next = data.partition_point(|data| data.end <= range.start);
    data.get(next).is_none_or(|data| data.start >= range.end)
}

/// What of `parts`, which go to a file at `offset` one after another, is no unit of zeros: places
/// in the file, in order, as few as can be.
pub(crate) fn without_zeros(parts: &[Bytes], offset: u64) -> Vec<Range<u64>> {
    let end = offset + parts.iter().map(|part| part.len() as u64).sum::<u64>();
    let mut kept: Vec<Range<u64>> = Vec::new();
    let mut keep = |range: Range<u64>| match kept.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => kept.push(range),
    };
    let mut at = offset;
    let mut unit = offset.next_multiple_of(UNIT);
    let mut bytes = Cursor { parts, part: 0, start: offset };
    while unit + UNIT <= end {
        if bytes.is_zero(unit..unit + UNIT) {
            keep(at..unit);
            at = unit + UNIT;
        }
        unit += UNIT;
    }
    keep(at..end);
    kept
}

/// A place in parts that goes forward only.
struct Cursor<'a> {
    parts: &'a [Bytes],
    part: usize,
    /// Where the part begins in the file.
    start: u64,
}

impl Cursor<'_> {
    fn is_zero(&mut self, range: Range<u64>) -> bool {
        let mut at = range.start;
        while let Some(part) = self.parts.get(self.part) {
            let end = self.start + part.len() as u64;
            if at < end {
                let from = (at - self.start) as usize;
                let to = (range.end.min(end) - self.start) as usize;
                if !part.get(from..to).is_some_and(all_zero) {
                    return false;
                }
                at = range.end.min(end);
            }
            if at >= range.end {
                return true;
            }
            (self.part, self.start) = (self.part + 1, end);
        }
        false
    }
}

/// Whether all bytes are zero. Nearly always the first few tell.
fn all_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<16>();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_units_of_zeros_are_left_out() {
        let unit = UNIT as usize;
        // Units that are zero (0) or not (x), the offset in bytes, and what is kept.
        type Kept = &'static [(u64, u64)];
        let cases: [(&str, u64, Kept); 7] = [
            ("x", 0, &[(0, 1)]),
            ("0", 0, &[]),
            ("x0x", 0, &[(0, 1), (2, 3)]),
            ("00x0", 0, &[(2, 3)]),
            ("x00", 2, &[(2, 3)]),
            ("xx", 5, &[(5, 7)]),
            ("", 3, &[]),
        ];
        for (units, first, kept) in cases {
            let fill = |unit: char| vec![u8::from(unit == 'x'); UNIT as usize];
            let bytes: Vec<u8> = units.chars().flat_map(fill).collect();
            let whole = Bytes::from(bytes);
            for cut in [1000, unit - 1, unit, 3 * unit] {
                let parts: Vec<_> = (0..whole.len())
                    .step_by(cut)
                    .map(|at| whole.slice(at..whole.len().min(at + cut)))
                    .collect();
                let found = without_zeros(&parts, first * UNIT);
                let expected: Vec<_> =
                    kept.iter().map(|(start, end)| start * UNIT..end * UNIT).collect();
                assert_eq!(found, expected, "{units} at {first} in {cut}");
            }
        }
        // Not at a multiple: only the unit in the middle can go.
        let zeros = [Bytes::from(vec![0; 2 * unit])];
        let expected = [UNIT / 2..UNIT, 2 * UNIT..2 * UNIT + UNIT / 2];
        assert_eq!(without_zeros(&zeros, UNIT / 2), expected);
    }

    #[test]
    fn holes_lie_between_data() {
        let data = [10..20, 30..40];
        let cases =
            [(0..10, true), (0..11, false), (20..30, true), (19..21, false), (40..99, true)];
        for (range, hole) in cases {
            assert_eq!(is_hole(&data, &range), hole, "{range:?}");
        }
        assert!(is_hole(&[], &(0..5)));
    }
}
