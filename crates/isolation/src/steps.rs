//! One file for each step.

pub mod copy_on_write;
pub mod foreign;
pub mod kernel;
pub mod shared;
pub mod spaces;
pub mod variable;
