//! Processes that are killed, limits that are reached, clients that mean ill: whom does it harm?

use std::collections::HashMap;
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Completion;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::Uid;

use crate::client::{Client, LONG, get};
use crate::process::{descriptors, lives, look, signal, within, zombies};
use crate::server::{Launch, Mode, Server, big};
use crate::{Result, ensure};

crate::trials! {
    a_killed_child_harms_nobody_else,
    a_child_killed_in_the_middle_of_an_answer,
    children_killed_at_random,
    workers_that_die_at_once_come_back_slowly,
    fork_fails,
    more_than_the_server_may_have,
    silent_connections,
    more_silent_connections_than_descriptors,
    half_a_request_from_many,
    a_client_that_never_stops,
    a_killed_server_leaves_no_orphans,
    a_child_that_does_not_react,
    the_starter_ignored_sigchld,
}

/// The user `nobody`.
const NOBODY: u32 = 65534;

/// The pid of the child that serves a client: the one whose count of requests grows, if nobody else asks for anything.
/// Not the one that is busy, for the kernel may have woken a second worker for the same connection.
fn child_of(client: &mut Client) -> Result<i32> {
    let mut requests = || -> Result<HashMap<i64, u64>> {
        let status: serde_json::Value = serde_json::from_slice(&client.get("/status.json")?.body)?;
        let children = status["children"].as_array().ok_or("no children")?;
        Ok(children.iter().filter_map(|child| child["pid"].as_i64().zip(child["requests"].as_u64())).collect())
    };
    let before = requests()?;
    let grown = requests()?.into_iter().find(|(pid, count)| before.get(pid).is_some_and(|before| before < count));
    Ok(grown.ok_or("nobody's requests grow")?.0 as i32)
}

/// Stops a process and waits until it stands still.
fn halt(pid: i32) -> Result {
    signal(pid, Signal::SIGSTOP)?;
    ensure!(within(LONG, || look(pid).is_some_and(|process| process.state == 'T')), "{pid} does not stop");
    Ok(())
}

/// As many processes as there should be, and no zombie.
fn tidy(server: &Server, children: usize) -> Result {
    let expected = || zombies(server.pid) == 0 && server.children().len() == children;
    ensure!(within(LONG, expected), "{:?} children, {} zombies", server.children(), zombies(server.pid));
    Ok(())
}

fn a_killed_child_harms_nobody_else(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "2"])?;
    let mut victim = Client::connect_slow(server.address)?;
    let pid = child_of(&mut victim)?;
    // Somebody else's connection, in another process: a stopped one accepts nothing.
    halt(pid)?;
    let mut other = Client::connect(server.address)?;
    ensure!(child_of(&mut other)? != pid, "a stopped process answers");
    signal(pid, Signal::SIGCONT)?;
    signal(pid, Signal::SIGABRT)?;
    ensure!(victim.stream.read(&mut [0; 1]).is_ok_and(|count| count == 0), "its connection is not over");
    ensure!(other.get("/digits.txt")?.text() == "0123456789", "somebody else's connection is over");
    ensure!(get(server.address, "/digits.txt")?.text() == "0123456789", "nobody else is served");
    server.line(&format!("child {pid} was killed by SIGABRT"))?;
    ensure!(server.total("children_crashed")? == 1, "{}", server.status()?);
    tidy(&server, if mode == "prefork" { 2 } else { 1 })?;
    server.stop()
}

fn a_child_killed_in_the_middle_of_an_answer(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "2"])?;
    let mut victim = Client::connect_slow(server.address)?;
    let pid = child_of(&mut victim)?;
    victim.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
    victim.stream.read_exact(&mut [0; 1000])?;
    // As much is on its way as there is room for.
    thread::sleep(Duration::from_millis(200));
    signal(pid, Signal::SIGKILL)?;
    let mut came = 1000;
    let mut chunk = vec![0; 1 << 20];
    while let Ok(count @ 1..) = victim.stream.read(&mut chunk) {
        came += count;
    }
    ensure!(came < big().len(), "all of it came: {came} bytes");
    server.line(&format!("child {pid} was killed by SIGKILL"))?;
    ensure!(get(server.address, "/big.bin")?.body == big(), "the next one gets something else");
    // What the dead child had counted is still in the sums, and its slot is free for the next.
    let totals = server.status()?["totals"].clone();
    ensure!(totals["children_crashed"] == 1, "{totals}");
    ensure!(totals["bytes"].as_u64().is_some_and(|bytes| bytes > (came + big().len()) as u64), "{totals}");
    tidy(&server, if mode == "prefork" { 2 } else { 0 })?;
    server.stop()
}

/// However many are killed, sums stay sums, slots come back, and who is not hit gets what was asked for.
fn children_killed_at_random(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "4", "--max-children", "8"])?;
    let start = Instant::now();
    let ran = || start.elapsed() > Duration::from_secs(2);
    let (asked, answered) = thread::scope(|scope| -> Result<(u64, u64)> {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut asked, mut answered) = (0, 0);
                    while !ran() {
                        let Ok(mut client) = Client::connect(server.address) else { continue };
                        for _ in 0..50 {
                            asked += 1;
                            match client.get("/digits.txt") {
                                Ok(reply) if reply.text() == "0123456789" => answered += 1,
                                Ok(reply) => assert_eq!(reply.status, 503, "{reply:?}"),
                                Err(_) => {}
                            }
                        }
                    }
                    (asked, answered)
                })
            })
            .collect();
        let mut killed = 0;
        while !ran() {
            for pid in server.children() {
                if signal(pid, Signal::SIGKILL).is_ok() {
                    killed += 1;
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        // A pool comes back once a second.
        ensure!(killed >= if mode == "prefork" { 8 } else { 20 }, "only {killed} children were killed");
        let mut sums = (0, 0);
        for client in clients {
            let (asked, answered) = client.join().map_err(|_| "a client got something else")?;
            sums = (sums.0 + asked, sums.1 + answered);
        }
        Ok(sums)
    })?;
    ensure!(answered > 100, "only {answered} of {asked} requests were answered");
    tidy(&server, if mode == "prefork" { 4 } else { 0 })?;
    let status = server.status()?;
    let requests = status["totals"]["requests"].as_u64().ok_or("no requests")?;
    ensure!((answered..=asked).contains(&requests), "{answered} answered, {asked} asked, {requests} counted");
    let slots = status["children"].as_array().map_or(0, Vec::len);
    ensure!(slots == if mode == "prefork" { 4 } else { 1 }, "{status}");
    server.stop()
}

fn workers_that_die_at_once_come_back_slowly(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "2"])?;
    let before = server.total("children_started")?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        for pid in server.children() {
            let _ = signal(pid, Signal::SIGKILL);
        }
        thread::sleep(Duration::from_millis(2));
    }
    let started = server.total("children_started")? - before;
    // In fork mode there is no pool that could be completed; the request for the figure has its own child.
    let most = if mode == "prefork" { 2 * 4 } else { 1 };
    ensure!(started <= most, "{started} children in 2.5 s");
    tidy(&server, if mode == "prefork" { 2 } else { 0 })?;
    server.stop()
}

fn fork_fails(mode: Mode) -> Result<Completion> {
    if Command::new("prlimit").arg("--version").output().is_err() {
        return Ok(Completion::ignored_with("prlimit is not installed (apt install util-linux)"));
    }
    let mut launch = Launch::new(mode, &["--workers", "2"])?;
    let mut uid = Uid::effective().as_raw();
    if uid == 0 {
        // The limit does not hold for root.
        uid = NOBODY;
        launch = launch.uid(uid);
    }
    let server = launch.start()?;
    let mut kept = Client::connect(server.address)?;
    kept.get("/digits.txt")?;
    limit_processes(&server, uid, "1")?;
    if mode == "prefork" {
        // One of two dies, and none can be forked in its place. The other one goes on.
        let idle = child_of(&mut kept)?;
        let victim = server.children().into_iter().find(|&pid| pid != idle).ok_or("there is only one worker")?;
        thread::sleep(Duration::from_secs(1));
        signal(victim, Signal::SIGKILL)?;
        server.line("fork: EAGAIN")?;
        ensure!(server.children() == [idle], "{:?}", server.children());
        ensure!(get(server.address, "/digits.txt")?.status == 200, "nobody is served");
        // Nor can fresh workers be forked, so the old one stays.
        server.signal(Signal::SIGHUP)?;
        thread::sleep(Duration::from_millis(200));
        let reply = kept.get("/digits.txt")?;
        ensure!(reply.header("Connection").is_none(), "the last worker is to end: {}", reply.head);
    } else {
        for _ in 0..3 {
            let reply = get(server.address, "/digits.txt")?;
            ensure!(reply.status == 503 && reply.header("Retry-After") == Some("1"), "{}", reply.head);
        }
        server.line("fork: EAGAIN")?;
        ensure!(server.said().len() == 2, "the same line again and again: {:?}", server.said());
    }
    ensure!(kept.get("/digits.txt")?.status == 200, "who had a child lost it");
    limit_processes(&server, uid, "10000")?;
    ensure!(get(server.address, "/digits.txt")?.status == 200, "it does not recover");
    tidy(&server, if mode == "prefork" { 2 } else { 1 })?;
    server.stop()?;
    Ok(Completion::Completed)
}

/// Limits the processes of the user that a server runs as. prlimit(1), because it takes the same user, or a capability
/// that root need not have.
fn limit_processes(server: &Server, uid: u32, limit: &str) -> Result {
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &server.pid.to_string(), &format!("--nproc={limit}:")]).uid(uid);
    let status = prlimit.status()?;
    ensure!(status.success(), "prlimit: {status}");
    Ok(())
}

/// 503, at once and without a child, and served as soon as there is room.
fn more_than_the_server_may_have(mode: Mode) -> Result {
    if mode == "prefork" {
        return too_many_for_the_workers();
    }
    let server = Server::start(mode, &["--max-children", "2"])?;
    let mut kept = [Client::connect(server.address)?, Client::connect(server.address)?];
    for client in &mut kept {
        client.get("/digits.txt")?;
    }
    for _ in 0..20 {
        let start = Instant::now();
        let mut client = Client::connect(server.address)?;
        let reply = client.get("/digits.txt")?;
        ensure!(reply.status == 503 && reply.header("Retry-After") == Some("1"), "{}", reply.head);
        ensure!(reply.header("Connection") == Some("close") && client.is_closed(), "{}", reply.head);
        ensure!(start.elapsed() < Duration::from_secs(1), "after {:?}", start.elapsed());
    }
    for client in &mut kept {
        ensure!(client.get("/digits.txt")?.status == 200, "who was there first is not served any more");
    }
    ensure!(server.children().len() == 2, "{:?}", server.children());
    drop(kept);
    ensure!(within(LONG, || server.children().is_empty()), "the children do not end");
    let totals = server.status()?["totals"].clone();
    ensure!(totals["refused"] == 20 && totals["children_started"] == 3, "{totals}");
    server.stop()
}

/// A worker holds as many connections as it has descriptors for. Idle ones make room; busy ones do not.
fn too_many_for_the_workers() -> Result {
    let server = few_descriptors("prefork", &["--workers", "2"])?;
    let mut busy: Vec<Client> = Vec::new();
    let refused = loop {
        ensure!(busy.len() < 200, "200 answers at once, with room for 32 in each worker");
        let mut client = Client::connect(server.address)?;
        client.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let mut status = [0; 12];
        client.stream.read_exact(&mut status)?;
        if &status == b"HTTP/1.1 503" {
            break client;
        }
        busy.push(client);
    };
    ensure!(busy.len() >= 32, "only {} answers at once", busy.len());
    drop((refused, busy));
    ensure!(within(LONG, || get(server.address, "/").is_ok_and(|reply| reply.status == 200)), "nobody is served");
    server.stop()
}

/// A server that may open 128 descriptors in each process.
fn few_descriptors(mode: Mode, options: &[&str]) -> Result<Server> {
    let mut launch = Launch::new(mode, options)?;
    let limit = || Ok(setrlimit(Resource::RLIMIT_NOFILE, 128, 128)?);
    #[expect(unsafe_code, reason = "what happens between fork and exec is unsafe")]
    // SAFETY: setrlimit(2) is a plain system call.
    unsafe {
        launch.command().pre_exec(limit)
    };
    launch.start()
}

fn silent_connections(mode: Mode) -> Result {
    let server = Server::start(mode, &["--timeout", "4"])?;
    let before = (server.children().len(), descriptors(server.pid));
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(server.address)).collect::<Result<_, _>>()?;
    let served_at_once = || -> Result {
        let start = Instant::now();
        let reply = get(server.address, "/digits.txt")?;
        let took = start.elapsed();
        ensure!(reply.status == 200 && took < Duration::from_secs(1), "{} after {took:?}", reply.status);
        Ok(())
    };
    served_at_once()?;
    // After a second or three the kernel hands even silent connections over (TCP_DEFER_ACCEPT).
    let accepted = || server.total("connections").is_ok_and(|count| count >= 200);
    ensure!(within(Duration::from_secs(8), accepted), "{}", server.status()?);
    for _ in 0..20 {
        served_at_once()?;
    }
    if mode == "fork" {
        tidy(&server, 0)?;
        ensure!(server.total("waiting")? > 0, "{}", server.status()?);
    }
    // They are not kept for ever.
    for mut stream in silent {
        stream.set_read_timeout(Some(LONG))?;
        ensure!(matches!(stream.read(&mut [0]), Ok(0)), "a silent connection stays open");
    }
    ensure!(server.total("waiting")? == 0, "{}", server.status()?);
    tidy(&server, before.0)?;
    ensure!(within(LONG, || descriptors(server.pid) == before.1), "{} descriptors", descriptors(server.pid));
    server.stop()
}

fn more_silent_connections_than_descriptors(mode: Mode) -> Result {
    let server = few_descriptors(mode, &["--timeout", "20"])?;
    let silent: Vec<_> = (0..300).map(|_| TcpStream::connect(server.address)).collect::<Result<_, _>>()?;
    let accepted = || server.total("connections").is_ok_and(|count| count >= 300);
    ensure!(within(LONG, accepted), "{}", server.status()?);
    for _ in 0..50 {
        let start = Instant::now();
        ensure!(get(server.address, "/digits.txt")?.status == 200, "not served");
        ensure!(start.elapsed() < Duration::from_secs(1), "after {:?}", start.elapsed());
    }
    ensure!(server.total("children_crashed")? == 0, "{:?}", server.said());
    drop(silent);
    server.stop()
}

/// Each costs a child in fork mode: up to the cap, and for no longer than the timeout.
fn half_a_request_from_many(mode: Mode) -> Result {
    let server = Server::start(mode, &["--timeout", "1", "--max-children", "20"])?;
    let mut halves = Vec::new();
    for _ in 0..40 {
        let mut client = Client::connect(server.address)?;
        client.send("GET / HTTP/1.1\r\n")?;
        halves.push(client);
    }
    let start = Instant::now();
    let served = || get(server.address, "/digits.txt").is_ok_and(|reply| reply.status == 200);
    ensure!(within(Duration::from_secs(5), served), "nobody is served after {:?}", start.elapsed());
    for mut client in halves {
        let status = client.reply(false)?.status;
        ensure!(status == 408 || (mode == "fork" && status == 503), "{status}");
    }
    server.stop()
}

/// It sends requests and does not read the answers, as fast as it can; nobody else has to wait for that.
fn a_client_that_never_stops(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "1", "--timeout", "2"])?;
    let mut flood = Client::connect(server.address)?;
    flood.stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let requests = "GET /digits.txt HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    thread::scope(|scope| -> Result {
        let sender = scope.spawn(move || while flood.send(&requests).is_ok() {});
        for _ in 0..50 {
            let start = Instant::now();
            ensure!(get(server.address, "/digits.txt")?.status == 200, "not served");
            ensure!(start.elapsed() < Duration::from_secs(1), "after {:?}", start.elapsed());
        }
        sender.join().map_err(|_| "the flooding thread panicked".into())
    })?;
    server.stop()
}

fn a_killed_server_leaves_no_orphans(mode: Mode) -> Result {
    let mut server = Server::start(mode, &["--workers", "3"])?;
    let mut idle = Client::connect(server.address)?;
    idle.get("/digits.txt")?;
    let mut busy = Client::connect_slow(server.address)?;
    busy.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
    busy.stream.read_exact(&mut [0; 1000])?;
    let children = server.children();
    ensure!(children.len() == if mode == "prefork" { 3 } else { 2 }, "{children:?}");
    server.signal(Signal::SIGKILL)?;
    server.wait(LONG)?;
    ensure!(within(Duration::from_secs(1), || !children.iter().any(|&pid| lives(pid))), "{children:?} live on");
    // The port is free at once, though connections were open.
    let port = server.address.port().to_string();
    let again = Server::start(mode, &["--port", &port])?;
    ensure!(get(again.address, "/digits.txt")?.status == 200, "the next server does not serve");
    again.stop()
}

/// It is stopped, by SIGSTOP or in a debugger. At the end of the grace it is killed.
fn a_child_that_does_not_react(mode: Mode) -> Result {
    let mut server = Server::start(mode, &["--workers", "2", "--grace", "0.5"])?;
    let mut client = Client::connect(server.address)?;
    let pid = child_of(&mut client)?;
    halt(pid)?;
    let start = Instant::now();
    server.signal(Signal::SIGTERM)?;
    let status = server.wait(LONG)?;
    ensure!(status.code() == Some(0) && start.elapsed() >= Duration::from_millis(500), "{status}");
    server.line("1 children have not finished and are killed")?;
    ensure!(!lives(pid), "it lives on");
    Ok(())
}

/// Then the kernel would wait for the children itself and never tell, unless the server sees to it.
fn the_starter_ignored_sigchld(mode: Mode) -> Result {
    let mut launch = Launch::new(mode, &["--max-children", "2", "--workers", "2"])?;
    let ignore = || {
        // SAFETY: to ignore a signal takes no handler.
        #[expect(unsafe_code, reason = "the action of a signal has no safe wrapper")]
        unsafe { nix::sys::signal::signal(Signal::SIGCHLD, nix::sys::signal::SigHandler::SigIgn) }?;
        Ok(())
    };
    #[expect(unsafe_code, reason = "what happens between fork and exec is unsafe")]
    // SAFETY: signal(2) is async-signal-safe.
    unsafe {
        launch.command().pre_exec(ignore)
    };
    let server = launch.start()?;
    for _ in 0..20 {
        ensure!(
            within(LONG, || get(server.address, "/digits.txt").is_ok_and(|reply| reply.status == 200)),
            "slots do not come back: {:?}",
            server.said()
        );
    }
    tidy(&server, if mode == "prefork" { 2 } else { 0 })?;
    server.stop()
}
