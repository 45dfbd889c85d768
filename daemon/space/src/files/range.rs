//! Which part of a file is wanted (RFC 9110, section 14).

use hyper::header::HeaderValue;

/// What to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it (200).
    Whole,
    /// `length` bytes from `start` on (206). The length is not 0.
    Some {
        /// First byte.
        start: u64,
        /// How many bytes.
        length: u64,
    },
    /// Nothing of what was asked is there (416).
    Nothing,
}

/// Reads a `Range` header for a file of `size` bytes. What is not understood is as if it were not there (section 14.2), and
/// several ranges at once are answered with the whole file, which the RFC leaves to us.
pub fn part(range: Option<&HeaderValue>, size: u64) -> Part {
    range
        .and_then(|range| range.to_str().ok())
        .and_then(|range| parse(range, size))
        .unwrap_or(Part::Whole)
}

/// `None` for what is no single range of bytes.
pub fn parse(range: &str, size: u64) -> Option<Part> {
    let (unit, set) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    if first.is_empty() {
        let last = number(last)?.min(size);
        return Some(match last {
            0 => Part::Nothing,
            length => Part::Some {
                start: size - length,
                length,
            },
        });
    }
    let start = number(first)?;
    let end = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if end < start {
        return None; // invalid, and so ignored (section 14.1.1)
    }
    if start >= size {
        return Some(Part::Nothing);
    }
    Some(Part::Some {
        start,
        length: end.min(size - 1) - start + 1,
    })
}

/// Digits only. What is greater than any file is the greatest number.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        let some = |start, length| Some(Part::Some { start, length });
        for (range, expected) in [
            ("bytes=0-499", some(0, 500)),
            ("bytes=500-999", some(500, 500)),
            ("bytes=-500", some(9500, 500)),
            ("bytes=9500-", some(9500, 500)),
            ("bytes=9999-20000", some(9999, 1)),
            ("Bytes = 0-0", some(0, 1)),
            ("bytes=-20000", some(0, 10_000)),
            ("bytes=0-99999999999999999999999999", some(0, 10_000)),
            ("bytes=10000-", Some(Part::Nothing)),
            ("bytes=99999999999999999999999999-", Some(Part::Nothing)),
            ("bytes=-0", Some(Part::Nothing)),
            ("bytes=5-4", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=0-1,5-6", None),
            ("lines=0-1", None),
            ("", None),
        ] {
            assert_eq!(parse(range, 10_000), expected, "{range}");
        }
        assert_eq!(parse("bytes=0-", 0), Some(Part::Nothing));
        assert_eq!(part(None, 5), Part::Whole);
    }

    proptest! {
        #[test]
        fn a_part_always_lies_in_the_file(range in "bytes=[0-9]{0,22}-[0-9]{0,22}", size in any::<u64>()) {
            if let Some(Part::Some { start, length }) = parse(&range, size) {
                prop_assert!(length > 0 && start < size && length <= size - start);
            }
        }
    }
}
