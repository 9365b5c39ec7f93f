//! Under load: nothing fails, nothing piles up.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, LONG};
use crate::process::{children, descriptors, within, zombies};
use crate::server::{Mode, Server, big};
use crate::{Result, ensure};

crate::trials! {
    no_failure_no_zombie_no_descriptor,
    large_files_to_many,
}

fn no_failure_no_zombie_no_descriptor(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let before = (server.children().len(), descriptors(server.pid));
    let mut requests = 0;
    for clients in [2, 16, 64] {
        let start = Instant::now();
        let client = |keep: bool| -> Result<u64> {
            let mut requests = 0;
            while start.elapsed() < Duration::from_millis(700) {
                let mut client = Client::connect(server.address)?;
                for _ in 0..if keep { 100 } else { 1 } {
                    ensure!(client.get("/digits.txt")?.text() == "0123456789", "another file");
                    requests += 1;
                }
            }
            Ok(requests)
        };
        requests += thread::scope(|scope| -> Result<u64> {
            let clients: Vec<_> = (0..clients).map(|at| scope.spawn(move || client(at % 2 == 0))).collect();
            let results = clients.into_iter().map(|client| client.join().map_err(|_| "a client panicked")?);
            results.sum()
        })?;
        let flat = || server.children().len() == before.0 && descriptors(server.pid) == before.1;
        let state = || (children(server.pid), descriptors(server.pid));
        ensure!(within(LONG, || zombies(server.pid) == 0 && flat()), "{clients} clients: {:?}", state());
    }
    let totals = server.status()?["totals"].clone();
    ensure!(totals["requests"] == requests && totals["refused"] == 0, "{requests} requests, but {totals}");
    server.stop()
}

fn large_files_to_many(mode: Mode) -> Result {
    let server = Server::start(mode, &["--workers", "2"])?;
    let expected = big();
    thread::scope(|scope| -> Result {
        let get = || -> Result {
            ensure!(Client::connect(server.address)?.get("/big.bin")?.body == expected, "other bytes");
            Ok(())
        };
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(get)).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked")?)
    })?;
    server.stop()
}
