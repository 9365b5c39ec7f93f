//! A variable after fork(2): the same address in both processes, and what one writes the other does not see.

use std::sync::atomic::{AtomicU32, Ordering};

use common::Result;

use crate::child::Child;
use crate::show::Show;

pub fn run(show: &mut Show) -> Result<()> {
    show.explain(
        "fork(2) makes a second process that is a copy of the first. A variable keeps its address in both. Yet an \
         address is a virtual one: each process has page tables of its own, which say where in memory it lies.",
    )?;
    // An ordinary variable on the stack. Atomic only so that the compiler really reads and writes it.
    let variable = AtomicU32::new(1);
    let look = || [&raw const variable as u64, variable.load(Ordering::SeqCst).into()];

    let mut child = Child::start(|parent| {
        variable.store(2, Ordering::SeqCst);
        parent.tell(look())
    })?;
    let there: [u64; 2] = child.told()?;
    let here = look();

    show.pair("", "parent", "child")?;
    show.pair("address of the variable", &format!("{:#x}", here[0]), &format!("{:#x}", there[0]))?;
    show.pair("value, when the child wrote 2", &here[1].to_string(), &there[1].to_string())?;
    show.line("")?;
    show.expect(here[0] == there[0], "the address is the same in both")?;
    show.expect([here[1], there[1]] == [1, 2], "the parent still has 1, the child has 2")
}
