//! A range of whole numbers, and how workers share it.

use std::hint::black_box;

/// From the first number to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: u64,
    pub to: u64,
}

impl Range {
    /// How many numbers there are: up to 2^64.
    pub fn count(self) -> u128 {
        u128::from(self.to - self.from) + 1
    }

    /// Adds them up, one by one. It is compiled once, so that the parent and the workers run the same instructions.
    #[inline(never)]
    pub fn sum(self) -> u128 {
        let (mut sum, mut number) = (0, self.from);
        loop {
            // A compiler may know the formula, too, and put a multiplication in the place of the loop. There would be
            // nothing left to share. So it must not know what it adds.
            sum += u128::from(black_box(number));
            // Not `number <= to`: after u64::MAX there is no number that could be greater.
            if number == self.to {
                return sum;
            }
            number += 1;
        }
    }

    /// The same without the work: n(n+1)/2 numbers up to the last, less those before the first.
    pub fn formula(self) -> u128 {
        let up_to = |n: u64| u128::from(n) * (u128::from(n) + 1) / 2;
        up_to(self.to) - self.from.checked_sub(1).map_or(0, up_to)
    }

    /// As many ranges as there are workers, none empty, whose sizes differ by one at most.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn split(self, workers: u32) -> Result<Vec<Range>, String> {
        let count = self.count();
        if workers == 0 {
            return Err("without workers nobody adds; --workers must be at least 1".to_owned());
        }
        if u128::from(workers) > count {
            return Err(format!("{workers} workers, but only {count} numbers to add"));
        }
        let start = |worker: u32| self.from + (count * u128::from(worker) / u128::from(workers)) as u64;
        let end = |worker: u32| if worker + 1 == workers { self.to } else { start(worker + 1) - 1 };
        Ok((0..workers).map(|worker| Range { from: start(worker), to: end(worker) }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn the_lectures_ten_shares() {
        let shares = Range { from: 1, to: 10_000 }.split(10).unwrap();
        let expected: Vec<Range> = (0..10).map(|n| Range { from: n * 1000 + 1, to: (n + 1) * 1000 }).collect();
        assert_eq!(shares, expected);
    }

    #[test]
    fn shares_are_complete_and_even() {
        for (from, to) in [(0, 0), (1, 7), (5, 1004), (u64::MAX - 9, u64::MAX), (0, u64::MAX)] {
            let range = Range { from, to };
            for workers in (1..=12).filter(|workers| u128::from(*workers) <= range.count()) {
                let shares = range.split(workers).unwrap();
                assert_eq!(shares.len(), workers as usize);
                assert_eq!((shares[0].from, shares[shares.len() - 1].to), (from, to));
                assert!(shares.windows(2).all(|pair| pair[0].to + 1 == pair[1].from), "{shares:?}");
                let counts: Vec<u128> = shares.iter().map(|share| share.count()).collect();
                assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_shared_is_refused() {
        assert!(Range { from: 1, to: 10 }.split(0).is_err());
        assert!(Range { from: 1, to: 10 }.split(11).is_err());
    }

    #[test]
    fn adding_and_the_formula_agree() {
        for (from, to) in [(0, 0), (0, 1), (1, 1), (1, 10_000), (17, 4711), (u64::MAX, u64::MAX)] {
            let range = Range { from, to };
            assert_eq!(range.sum(), range.formula(), "{range:?}");
        }
        // Ten numbers, and more than 64 bits.
        let last = Range { from: u64::MAX - 9, to: u64::MAX };
        assert_eq!(last.sum(), 184_467_440_737_095_516_105);
        assert_eq!(last.formula(), last.sum());
        assert_eq!(Range { from: 0, to: u64::MAX }.formula(), 170_141_183_460_469_231_722_463_931_679_029_329_920);
    }
}
