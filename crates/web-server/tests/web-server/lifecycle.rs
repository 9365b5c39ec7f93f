//! Stopping, and starting fresh workers, while people are being served.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigHandler, Signal};

use crate::client::{Client, LONG, get};
use crate::process::{lives, within, zombies};
use crate::server::{BIG, Launch, Mode, Server, big};
use crate::{Result, ensure};

crate::trials! {
    sigterm_finishes_what_is_open,
    sigterm_does_not_wait_for_idle_connections,
    sigterm_at_any_moment_under_load,
    a_second_sigterm_does_not_wait,
    sigint_stops_too,
    sigint_stays_ignored,
    signals_to_a_child_are_not_for_it,
    sighup_under_load_loses_nothing,
    sighup_many_times_at_once,
    sighup_lets_long_answers_finish,
}

fn sigterm_finishes_what_is_open(mode: Mode) -> Result {
    let mut server = Server::start(mode, &["--workers", "2"])?;
    let mut slow = Client::connect_slow(server.address)?;
    slow.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut first = [0; 5];
    slow.stream.read_exact(&mut first)?;
    let children = server.children();
    server.signal(Signal::SIGTERM)?;
    // Nobody new is let in, though the answer goes on.
    let refused =
        || TcpStream::connect(server.address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    ensure!(within(LONG, refused), "somebody still listens");
    thread::sleep(Duration::from_millis(300));
    ensure!(lives(server.pid), "it did not wait for the answer");
    let mut rest = Vec::new();
    slow.stream.read_to_end(&mut rest)?;
    ensure!(first == *b"HTTP/" && rest.ends_with(&big()[BIG - 1000..]) && rest.len() > BIG, "{} bytes", rest.len());
    ensure!(server.wait(LONG)?.code() == Some(0), "not a good end");
    ensure!(!children.iter().any(|&pid| lives(pid)), "{children:?} live on");
    Ok(())
}

fn sigterm_does_not_wait_for_idle_connections(mode: Mode) -> Result {
    let mut server = Server::start(mode, &["--workers", "2", "--timeout", "60", "--grace", "60"])?;
    let mut idle: Vec<_> = (0..5).map(|_| Client::connect(server.address)).collect::<Result<_>>()?;
    for client in &mut idle {
        client.get("/digits.txt")?;
    }
    let mut silent = Client::connect(server.address)?;
    let start = Instant::now();
    server.signal(Signal::SIGTERM)?;
    ensure!(server.wait(LONG)?.code() == Some(0), "not a good end");
    ensure!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    ensure!(idle.iter_mut().all(Client::is_closed), "a connection is still open");
    ensure!(matches!(silent.stream.read(&mut [0]), Ok(0) | Err(_)), "a silent connection is still open");
    Ok(())
}

/// Every reply that has begun is complete.
fn sigterm_at_any_moment_under_load(mode: Mode) -> Result {
    for moment in [0, 3, 20, 50] {
        let mut server = Server::start(mode, &[])?;
        let begun = thread::scope(|scope| -> Result<bool> {
            let clients: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| -> Result<bool> {
                        let mut begun = false;
                        while let Ok(mut client) = Client::connect(server.address) {
                            if client.send("GET /a%20b.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").is_err() {
                                break;
                            }
                            let mut reply = Vec::new();
                            // An end without a word: it came too late.
                            let _ = client.stream.read_to_end(&mut reply);
                            begun |= !reply.is_empty();
                            ensure!(
                                reply.is_empty() || reply.ends_with(b"\r\n\r\na space\n"),
                                "{:?}",
                                String::from_utf8_lossy(&reply)
                            );
                        }
                        Ok(begun)
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(moment));
            server.signal(Signal::SIGTERM)?;
            let mut begun = false;
            for client in clients {
                begun |= client.join().map_err(|_| "a client panicked")??;
            }
            Ok(begun)
        })?;
        ensure!(begun || moment < 50, "nobody was served in {moment} ms");
        ensure!(server.wait(LONG)?.code() == Some(0), "not a good end");
        ensure!(server.said().iter().all(|line| !line.contains("killed")), "{:?}", server.said());
    }
    Ok(())
}

fn a_second_sigterm_does_not_wait(mode: Mode) -> Result {
    let mut server = Server::start(mode, &["--workers", "2", "--timeout", "60", "--grace", "60"])?;
    let mut slow = Client::connect_slow(server.address)?;
    slow.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
    slow.stream.read_exact(&mut [0; 5])?;
    server.signal(Signal::SIGTERM)?;
    ensure!(within(LONG, || TcpStream::connect(server.address).is_err()), "somebody still listens");
    ensure!(lives(server.pid), "it did not wait for the answer");
    server.signal(Signal::SIGTERM)?;
    ensure!(server.wait(Duration::from_secs(5))?.code() == Some(0), "not a good end");
    server.line("1 children have not finished and are killed")?;
    Ok(())
}

fn sigint_stops_too(mode: Mode) -> Result {
    let mut server = start_with_sigint(SigHandler::SigDfl, mode)?;
    get(server.address, "/")?;
    server.signal(Signal::SIGINT)?;
    ensure!(server.wait(LONG)?.code() == Some(0), "not a good end");
    Ok(())
}

fn sigint_stays_ignored(mode: Mode) -> Result {
    let server = start_with_sigint(SigHandler::SigIgn, mode)?;
    server.signal(Signal::SIGINT)?;
    thread::sleep(Duration::from_millis(100));
    ensure!(get(server.address, "/")?.status == 200, "it has stopped");
    server.stop()
}

/// As a shell starts it: a script's `web-server &` has SIGINT ignored. These tests may have been started like that, too.
fn start_with_sigint(action: SigHandler, mode: Mode) -> Result<Server> {
    let mut launch = Launch::new(mode, &[])?;
    let set = move || {
        // SAFETY: neither action has a handler.
        #[expect(unsafe_code, reason = "the action of a signal has no safe wrapper")]
        unsafe { nix::sys::signal::signal(Signal::SIGINT, action) }?;
        Ok(())
    };
    #[expect(unsafe_code, reason = "what happens between fork and exec is unsafe")]
    // SAFETY: signal(2) is async-signal-safe.
    unsafe {
        launch.command().pre_exec(set)
    };
    launch.start()
}

/// Ctrl-C and `kill -USR1` of a group reach all processes; only the parent acts.
fn signals_to_a_child_are_not_for_it(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "1"])?;
    let mut client = Client::connect(server.address)?;
    client.get("/")?;
    let child = server.children()[0];
    for what in [Signal::SIGINT, Signal::SIGUSR1, Signal::SIGCHLD] {
        crate::process::signal(child, what)?;
        thread::sleep(Duration::from_millis(50));
        ensure!(client.get("/")?.header("Connection").is_none(), "{what} ends the connection");
    }
    ensure!(server.children() == [child], "{:?}", server.children());
    server.stop()
}

/// What became of the requests that clients have made without a break.
struct Load<'a> {
    server: &'a Server,
    stop: AtomicBool,
    requests: AtomicU64,
}

impl Load<'_> {
    /// Some clients keep their connection as long as they may, some take a new one each time. Any failure is an error.
    fn run(server: &Server, work: impl FnOnce(&Load) -> Result) -> Result<u64> {
        let load = Load { server, stop: AtomicBool::new(false), requests: AtomicU64::new(0) };
        thread::scope(|scope| -> Result {
            let clients: Vec<_> = (0..4)
                .map(|at| {
                    scope.spawn({
                        let load = &load;
                        move || load.client(at % 2 == 0)
                    })
                })
                .collect();
            let worked = work(&load);
            load.stop.store(true, Ordering::Relaxed);
            for client in clients {
                client.join().map_err(|_| "a client panicked")??;
            }
            worked
        })?;
        Ok(load.requests.into_inner())
    }

    fn client(&self, keep: bool) -> Result {
        while !self.stop.load(Ordering::Relaxed) {
            let mut client = Client::connect(self.server.address)?;
            loop {
                let field = if keep { "" } else { "Connection: close\r\n" };
                let reply = client.ask("GET", "/digits.txt", field)?;
                ensure!(reply.status == 200 && reply.text() == "0123456789", "{reply:?}");
                self.requests.fetch_add(1, Ordering::Relaxed);
                if reply.header("Connection") == Some("close") || self.stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn sighup_under_load_loses_nothing(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "3"])?;
    let requests = Load::run(&server, |_| {
        for _ in 0..8 {
            let before: BTreeSet<_> = server.children().into_iter().collect();
            server.signal(Signal::SIGHUP)?;
            let renewed = || {
                let now: BTreeSet<_> = server.children().into_iter().collect();
                now.is_disjoint(&before) && (mode == "fork" || now.len() == 3)
            };
            ensure!(within(LONG, renewed), "{before:?} and {:?}", server.children());
        }
        Ok(())
    })?;
    ensure!(requests > 100, "only {requests} requests");
    let totals = server.status()?["totals"].clone();
    ensure!(totals["requests"] == requests && totals["refused"] == 0 && totals["children_crashed"] == 0, "{totals}");
    ensure!(mode == "fork" || totals["children_started"] == 9 * 3, "{totals}");
    ensure!(within(LONG, || zombies(server.pid) == 0), "zombies");
    server.stop()
}

/// Signals of a kind are merged, and fresh workers are not replaced before they are ready.
fn sighup_many_times_at_once(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "2"])?;
    Load::run(&server, |_| {
        for _ in 0..200 {
            server.signal(Signal::SIGHUP)?;
        }
        thread::sleep(Duration::from_millis(500));
        // With a child for each connection, those that have answered and not quite ended yet may be any number.
        let children = server.children();
        ensure!(mode == "fork" || children.len() <= 4 * 2, "{children:?}");
        Ok(())
    })?;
    let settled = || server.children().len() == if mode == "prefork" { 2 } else { 0 };
    ensure!(within(LONG, settled), "{:?}", server.children());
    ensure!(server.total("children_crashed")? == 0, "{:?}", server.said());
    server.stop()
}

fn sighup_lets_long_answers_finish(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "2"])?;
    let mut slow = Client::connect_slow(server.address)?;
    slow.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
    slow.stream.read_exact(&mut [0; 5])?;
    let mut idle = Client::connect(server.address)?;
    idle.get("/digits.txt")?;
    server.signal(Signal::SIGHUP)?;
    thread::sleep(Duration::from_millis(300));
    // An idle connection has one more request, and is told that it is the last.
    let last = idle.get("/digits.txt")?;
    ensure!(last.status == 200 && last.header("Connection") == Some("close") && idle.is_closed(), "{}", last.head);
    // The answer under way had promised more, so there is more, once.
    slow.send("GET /digits.txt HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let mut rest = Vec::new();
    slow.stream.read_to_end(&mut rest)?;
    ensure!(rest.len() > BIG && rest.ends_with(b"\r\n\r\n0123456789"), "{} bytes", rest.len());
    server.stop()
}
