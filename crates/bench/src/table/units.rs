//! Figures in the units that a person reads: three digits each.

use crate::results::Spread;

/// `64 B`, `1 KiB`.
pub fn bytes(size: usize) -> String {
    match size {
        _ if size >= 1 << 20 && size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        _ if size >= 1 << 10 && size.is_multiple_of(1 << 10) => format!("{} KiB", size >> 10),
        _ => format!("{size} B"),
    }
}

/// Three digits.
pub fn digits(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Microseconds.
pub fn micros(nanos: f64) -> String {
    digits(nanos / 1e3)
}

/// `1.23 M`.
pub fn count(value: f64) -> String {
    match value {
        ..999.5 => digits(value),
        ..999.5e3 => format!("{} k", digits(value / 1e3)),
        _ => format!("{} M", digits(value / 1e6)),
    }
}

/// `1.23 GB/s`, for `size` bytes in so many nanoseconds. A GB is a thousand million bytes.
pub fn rate(size: usize, nanos: f64) -> String {
    match size as f64 * 1e3 / nanos {
        megabytes @ ..0.9995 => format!("{} kB/s", digits(megabytes * 1e3)),
        megabytes @ ..999.5 => format!("{} MB/s", digits(megabytes)),
        megabytes => format!("{} GB/s", digits(megabytes / 1e3)),
    }
}

/// `-3 +12 %`: how far the rounds are from their median. One round says nothing about it.
pub fn range(spread: Spread) -> String {
    if spread.min == spread.max {
        return String::new();
    }
    let percent = |value: f64| (value / spread.median - 1.0) * 100.0;
    format!("{:.0} {:+.0} %", percent(spread.min), percent(spread.max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_the_unit_that_fits() {
        assert_eq!([digits(0.123), digits(9.996), digits(12.34), digits(123.4)], ["0.12", "10.0", "12.3", "123"]);
        assert_eq!([count(999.4), count(999.6), count(1.5e6)], ["999", "1.00 k", "1.50 M"]);
        assert_eq!([rate(1000, 1.0), rate(64, 100.0)], ["1000 GB/s", "640 MB/s"]);
        assert_eq!(rate(64, 64e6), "1.00 kB/s");
        assert_eq!([bytes(64), bytes(1000), bytes(4096), bytes(1 << 20)], ["64 B", "1000 B", "4 KiB", "1 MiB"]);
        assert_eq!(range(Spread { min: 90.0, median: 100.0, max: 125.0 }), "-10 +25 %");
    }
}
