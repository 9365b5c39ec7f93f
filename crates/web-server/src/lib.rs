//! A web server in the lecture's way: it forks a process for every connection, or keeps a pool of forked workers, and
//! talks with these processes through shared memory, signals and an eventfd.
//!
//! ```text
//! server     the listening socket, the signals, starting and stopping
//!  ├─ fork ─▶ child          a process for each connection;  lobby: those that have said nothing yet
//!  └─ prefork ─▶ worker      a pool of processes
//! children   fork, wait, kill          scoreboard   what all of them do, in shared memory        signals
//! connection   request ─▶ answer ─▶ reply;  target, files, range, status
//! ```
//!
//! Start with `fork.rs`, `children.rs` and `scoreboard.rs`: that is where processes talk to each other. The rest is HTTP.

#[cfg(not(target_os = "linux"))]
compile_error!("ipc-lab shows the mechanisms of Linux and builds on Linux only");

pub mod answer;
pub mod child;
pub mod children;
pub mod connection;
pub mod files;
pub mod fork;
pub mod lobby;
pub mod prefork;
pub mod range;
pub mod reply;
pub mod request;
pub mod scoreboard;
pub mod server;
pub mod signals;
pub mod status;
pub mod target;
pub mod worker;
