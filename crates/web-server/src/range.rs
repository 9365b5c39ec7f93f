//! The Range field: which bytes of a file are wanted (RFC 9110, section 14).

/// What a Range field means for a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Range {
    /// All of it: the field is none that this server knows, and so is to be ignored.
    Whole,
    /// `len` bytes from `start` on, at least one.
    Part {
        /// The first byte.
        start: u64,
        /// How many bytes.
        len: u64,
    },
    /// It lies outside of the file.
    Unsatisfiable,
}

/// Reads a field like `bytes=0-99`, `bytes=100-` or `bytes=-100` for a file of `size` bytes. Of several ranges at once
/// the whole file is sent, as the standard permits: a file in a hundred pieces is an attack more often than a wish.
pub fn parse(field: &str, size: u64) -> Range {
    let Some((first, last)) = field.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Range::Whole;
    };
    let (start, end) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1)),
        (Some(first), None) if last.is_empty() => (first, size),
        (None, Some(count)) if first.is_empty() => (size.saturating_sub(count), size),
        _ => return Range::Whole,
    };
    let end = end.min(size);
    if start < end { Range::Part { start, len: end - start } } else { Range::Unsatisfiable }
}

/// Digits only. A number that is too large for 64 bits lies beyond any file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        let part = |start, len| Range::Part { start, len };
        for (field, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-4", part(2, 3)),
            ("bytes=2-", part(2, 8)),
            ("bytes=9-99", part(9, 1)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-99", part(0, 10)),
            ("bytes=0-99999999999999999999", part(0, 10)),
            ("bytes=10-", Range::Unsatisfiable),
            ("bytes=99999999999999999999-", Range::Unsatisfiable),
            ("bytes=-0", Range::Unsatisfiable),
            ("bytes=4-2", Range::Whole),
            ("bytes=0-1,3-4", Range::Whole),
            ("bytes=-", Range::Whole),
            ("bytes=+1-2", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("lines=1-2", Range::Whole),
            ("", Range::Whole),
        ] {
            assert_eq!(parse(field, 10), expected, "{field}");
        }
        assert_eq!(parse("bytes=0-", 0), Range::Unsatisfiable);
    }
}
