//! When a side of the ring looks before it sleeps.

use ring::patience::{LONGEST, Patience, RAREST};

/// Waits that looked, of so many in vain.
fn looks(patience: &mut Patience, waits: u32) -> Vec<u32> {
    let look = |wait: &u32| {
        let looks = !patience.time().is_zero();
        assert!(patience.sleeps(), "wait {wait}");
        looks
    };
    (0..waits).filter(look).collect()
}

#[test]
fn looks_in_vain_become_rare_but_never_end() {
    let mut patience = Patience::default();
    let looks = looks(&mut patience, 100_000);
    let gaps: Vec<u32> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.is_sorted(), "{gaps:?}");
    assert_eq!((gaps.first(), gaps.last()), (Some(&1), Some(&RAREST)));
    assert!(looks.len() < 50, "{looks:?}");
}

#[test]
fn one_look_that_is_rewarded_restores_it() {
    let mut patience = Patience::default();
    looks(&mut patience, 100_000);
    while patience.time().is_zero() {
        assert!(patience.sleeps());
    }
    patience.rewarded();
    assert_eq!(patience.time(), LONGEST);
}

#[test]
fn one_look_in_vain_does_not_end_it() {
    let mut patience = Patience::default();
    assert!(patience.sleeps());
    assert!(!patience.time().is_zero());
}

#[test]
fn what_never_sleeps_never_learns_to() {
    let mut patience = Patience::Endless;
    assert!(!patience.sleeps());
    patience.rewarded();
    assert!(!patience.sleeps());
    assert!(!patience.time().is_zero());
}
