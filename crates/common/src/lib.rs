//! What every technique in this workspace shares: the contract of a channel ([`Sender`], [`Receiver`],
//! [`Technique`]), the command line, the rendezvous of the two ends, waiting, errors and cleaning up.
//!
//! No mechanism for talking to another process lives here; those are the crates beside this one. A
//! program is [`program`] around a loop; a technique's `lib.rs` is a [`Link`] around its mechanism:
//!
//! ```text
//! program     loops         Input ──▶ Sender::send ─────────▶ Receiver::recv ──▶ Output
//! contract    sends                   FrameWriter + Link      FrameReader + Link
//! mechanism   writes/reads            write(2) ──▶ the kernel's object ──▶ read(2)
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("ipc-lab shows the mechanisms of Linux and builds on Linux only");

mod args;
mod batch;
mod cleanup;
mod contract;
mod control;
mod endpoint;
mod error;
mod family;
mod folder;
mod frame;
mod head_start;
mod helper;
mod input;
mod interrupt;
mod io_buffer;
mod lead;
mod length;
mod link;
mod output;
mod pause;
mod pid_file;
mod piece;
mod program;
mod rendezvous;
mod search;
pub mod sign;
mod watch;

pub use args::{Args, Extra};
pub use batch::Batch;
pub use cleanup::Cleanup;
pub use contract::{Carries, Chapter, Delivery, Endpoint, Notices, Reach, Receiver, Role, Sender, Technique, WhenFull};
pub use control::Door;
pub use error::{Context, Error, Result};
pub use family::Child;
pub use folder::Folder;
pub use frame::{FrameReader, FrameWriter, MAX_FRAME};
pub use input::Input;
pub use interrupt::{end_cleanly_on_signals, ending_signals, expect_children};
pub use io_buffer::IoBuffer;
pub use lead::Lead;
pub use link::Link;
pub use output::Output;
pub use pause::Pause;
pub use program::{command_line, complain, exit, print, program};
