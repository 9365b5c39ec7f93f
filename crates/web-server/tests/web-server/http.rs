//! HTTP: what is asked, what is answered.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::time::{Duration, Instant, SystemTime};

use libtest_mimic::Completion;
use nix::sys::signal::Signal;

use crate::client::{Client, Reply, get};
use crate::server::{BIG, Launch, Mode, Server, big};
use crate::{Result, ensure};

crate::trials! {
    files_arrive_byte_for_byte,
    head_is_get_without_the_body,
    every_reply_has_the_safe_headers,
    a_directory_is_its_index,
    unchanged_files_are_not_sent_again,
    parts_of_a_file,
    any_date_of_a_file,
    one_connection_many_requests,
    requests_in_one_packet,
    http_1_0_closes,
    bodies_are_skipped_or_end_the_connection,
    bad_requests,
    a_request_in_drips_is_answered,
    a_head_that_takes_too_long,
    a_connection_that_says_nothing_is_closed,
    a_client_that_does_not_read_is_dropped,
    a_file_that_shrinks_breaks_the_connection,
    each_request_is_a_line_with_verbose,
    the_status_is_right,
    the_status_is_for_this_machine,
}

fn files_arrive_byte_for_byte(mode: Mode) -> Result {
    let launch = Launch::new(mode, &[])?;
    let mut client = None;
    let sizes = [0, 1, 4095, 4096, 4097, 65535, 65536, (1 << 20) + 1];
    for size in sizes {
        fs::write(launch.root().join(format!("{size}.bin")), &big()[..size])?;
    }
    let server = launch.start()?;
    for size in sizes {
        let client = client.get_or_insert(Client::connect(server.address)?);
        let reply = client.get(&format!("/{size}.bin"))?;
        ensure!(reply.status == 200 && reply.body == big()[..size], "{size} bytes: {}", reply.head);
        ensure!(reply.header("Content-Type") == Some("application/octet-stream"), "{}", reply.head);
    }
    ensure!(get(server.address, "/big.bin")?.body == big(), "big.bin differs");
    let page = get(server.address, "/a%20b.txt?a=query")?;
    ensure!(page.text() == "a space\n", "{page:?}");
    ensure!(page.header("Content-Type") == Some("text/plain; charset=utf-8"), "{}", page.head);
    server.stop()
}

fn head_is_get_without_the_body(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let mut client = Client::connect(server.address)?;
    let lines = |reply: &Reply| -> Vec<String> {
        reply.head.lines().filter(|line| !line.starts_with("Date: ")).map(str::to_owned).collect()
    };
    // One connection: a body that was sent by mistake would be taken for the next reply.
    for target in ["/digits.txt", "/", "/missing", "/sub", "/.."] {
        let (head, whole) = (client.ask("HEAD", target, "")?, client.get(target)?);
        ensure!(lines(&head) == lines(&whole), "{target}: {} is not {}", head.head, whole.head);
        ensure!(head.body.is_empty() && !whole.body.is_empty(), "{target}");
    }
    let status = client.ask("HEAD", "/status.json", "")?;
    ensure!(status.header("Content-Length").is_some_and(|len| len != "0"), "{}", status.head);
    server.stop()
}

fn every_reply_has_the_safe_headers(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    for target in ["/", "/missing", "/sub", "/%00", "/.hidden", "/status", "/status.json"] {
        let reply = get(server.address, target)?;
        ensure!(reply.header("X-Content-Type-Options") == Some("nosniff"), "{target}: {}", reply.head);
        ensure!(reply.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{target}: {}", reply.head);
        ensure!(reply.header("Connection") == Some("close"), "{target}: {}", reply.head);
        ensure!(reply.header("Content-Type").is_some(), "{target}: {}", reply.head);
    }
    server.stop()
}

fn a_directory_is_its_index(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    ensure!(get(server.address, "/")?.text() == "<p>home\n", "the root has another index");
    ensure!(get(server.address, "/sub/")?.text() == "<p>sub\n", "sub has another index");
    for (target, place) in [("/sub", "/sub/"), ("//sub", "/sub/"), ("/sub/empty", "/sub/empty/")] {
        let reply = get(server.address, target)?;
        ensure!(reply.status == 301 && reply.header("Location") == Some(place), "{target}: {}", reply.head);
    }
    for target in ["/sub/empty/", "/digits.txt/", "/sub/index.html/", "/index.html/index.html"] {
        ensure!(get(server.address, target)?.status == 404, "{target}");
    }
    server.stop()
}

fn unchanged_files_are_not_sent_again(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let path = server.root().join("digits.txt");
    let set = |seconds| File::options().write(true).open(&path)?.set_modified(SystemTime::UNIX_EPOCH + seconds);
    // A fraction of a second, which the header cannot tell.
    set(Duration::from_millis(784_111_777_900))?;
    let mut client = Client::connect(server.address)?;
    let first = client.get("/digits.txt")?;
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    ensure!(first.header("Last-Modified") == Some(date), "{}", first.head);
    for (condition, expected) in [
        (format!("If-Modified-Since: {date}"), 304),
        ("If-Modified-Since: Sunday, 06-Nov-94 08:49:38 GMT".to_owned(), 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT".to_owned(), 200),
        ("If-Modified-Since: yesterday".to_owned(), 200),
        (format!("If-Modified-Since: {date}\r\nIf-None-Match: \"x\""), 200),
    ] {
        let reply = client.ask("GET", "/digits.txt", &format!("{condition}\r\n"))?;
        ensure!(reply.status == expected, "{condition}: {}", reply.head);
        ensure!((reply.status == 304) == reply.body.is_empty(), "{condition}: {:?}", reply.body);
    }
    ensure!(client.get("/digits.txt")?.text() == "0123456789", "a 304 has left something behind");
    server.stop()
}

fn parts_of_a_file(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let mut client = Client::connect(server.address)?;
    let modified = client.get("/digits.txt")?.header("Last-Modified").unwrap_or_default().to_owned();
    for (field, status, range, body) in [
        ("Range: bytes=0-0".to_owned(), 206, Some("bytes 0-0/10"), "0"),
        ("Range: bytes=3-5".to_owned(), 206, Some("bytes 3-5/10"), "345"),
        ("Range: bytes=7-".to_owned(), 206, Some("bytes 7-9/10"), "789"),
        ("Range: bytes=-2".to_owned(), 206, Some("bytes 8-9/10"), "89"),
        ("Range: bytes=-99".to_owned(), 206, Some("bytes 0-9/10"), "0123456789"),
        ("Range: bytes=10-".to_owned(), 416, Some("bytes */10"), "416 Range Not Satisfiable\n"),
        ("Range: bytes=0-1,3-4".to_owned(), 200, None, "0123456789"),
        ("Range: lines=1-2".to_owned(), 200, None, "0123456789"),
        (format!("Range: bytes=3-5\r\nIf-Range: {modified}"), 206, Some("bytes 3-5/10"), "345"),
        ("Range: bytes=3-5\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(), 200, None, "0123456789"),
        ("Range: bytes=3-5\r\nIf-Range: \"tag\"".to_owned(), 200, None, "0123456789"),
    ] {
        let reply = client.ask("GET", "/digits.txt", &format!("{field}\r\n"))?;
        ensure!(reply.status == status, "{field}: {}", reply.head);
        ensure!(reply.header("Content-Range") == range && reply.text() == body, "{field}: {reply:?}");
    }
    let end = client.ask("GET", "/big.bin", "Range: bytes=-1000\r\n")?;
    ensure!(end.body == big()[BIG - 1000..], "the end of big.bin differs");
    let head = client.ask("HEAD", "/digits.txt", "Range: bytes=0-0\r\n")?;
    ensure!(head.status == 200 && head.header("Accept-Ranges") == Some("bytes"), "{}", head.head);
    ensure!(client.ask("GET", "/empty.txt", "Range: bytes=0-\r\n")?.status == 416, "a part of nothing");
    server.stop()
}

fn any_date_of_a_file(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let file = File::options().write(true).open(server.root().join("digits.txt"))?;
    file.set_modified(SystemTime::UNIX_EPOCH - Duration::from_secs(1 << 31))?;
    let reply = get(server.address, "/digits.txt")?;
    ensure!(reply.header("Last-Modified") == Some("Thu, 01 Jan 1970 00:00:00 GMT"), "{}", reply.head);
    // The future: no later than now.
    file.set_modified(SystemTime::now() + Duration::from_secs(1 << 33))?;
    let reply = get(server.address, "/digits.txt")?;
    ensure!(reply.header("Last-Modified") == reply.header("Date"), "{}", reply.head);
    ensure!(server.total("children_crashed")? == 0, "a child crashed");
    server.stop()
}

fn one_connection_many_requests(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let mut client = Client::connect(server.address)?;
    for _ in 0..50 {
        ensure!(client.get("/digits.txt")?.text() == "0123456789", "digits.txt");
        ensure!(client.get("/missing")?.status == 404, "an error ends the connection");
        ensure!(client.ask("POST", "/", "")?.header("Allow") == Some("GET, HEAD"), "POST");
    }
    let last = client.ask("GET", "/", "Connection: close\r\n")?;
    ensure!(last.header("Connection") == Some("close") && client.is_closed(), "{}", last.head);
    let connections = server.total("connections")?;
    ensure!(connections == 2, "{connections} connections");
    server.stop()
}

fn requests_in_one_packet(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let mut client = Client::connect(server.address)?;
    let targets = ["/digits.txt", "/a%20b.txt", "/missing", "/empty.txt", "/sub/"];
    let all: String = (0..400).map(|at| format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", targets[at % 5])).collect();
    // More than fits into the server's buffer, and cut anywhere.
    client.send(all)?;
    for at in 0..400 {
        let reply = client.reply(false)?;
        let expected = ["0123456789", "a space\n", "404 Not Found\n", "", "<p>sub\n"][at % 5];
        ensure!(reply.text() == expected, "reply {at}: {reply:?}");
    }
    server.stop()
}

fn http_1_0_closes(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let mut client = Client::connect(server.address)?;
    client.send("GET / HTTP/1.0\r\n\r\n")?;
    let text = String::from_utf8(client.rest()?)?;
    ensure!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\n<p>home\n"), "{text}");
    let mut client = Client::connect(server.address)?;
    for _ in 0..3 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")?;
        let reply = client.reply(false)?;
        ensure!(reply.header("Connection") == Some("keep-alive"), "{}", reply.head);
    }
    server.stop()
}

fn bodies_are_skipped_or_end_the_connection(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let mut client = Client::connect(server.address)?;
    // A body that looks like a request must not be taken for one.
    let body = "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    let length = format!("Content-Length: {}\r\n", body.len());
    for method in ["GET", "POST"] {
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\n{length}\r\n{body}"))?;
        ensure!(client.reply(false)?.status == if method == "GET" { 200 } else { 405 }, "{method}");
    }
    ensure!(client.get("/digits.txt")?.text() == "0123456789", "the body was taken for a request");
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 1000000000\r\n",
        "Content-Length: 5\r\nExpect: 100-continue\r\n",
    ] {
        let mut client = Client::connect(server.address)?;
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}"))?;
        let reply = client.reply(false)?;
        ensure!(reply.status == 200 && reply.header("Connection") == Some("close"), "{fields}{}", reply.head);
        ensure!(client.is_closed(), "{fields}: more came");
    }
    server.stop()
}

fn bad_requests(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let long = "x".repeat(9000);
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), 400),
        ("GET /\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nbad field\r\n\r\n".to_owned(), 400),
        ("\u{0}\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), 400),
        ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: much\r\n\r\n".to_owned(), 417),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100)), 431),
    ] {
        let mut client = Client::connect(server.address)?;
        client.send(&request)?;
        let reply = client.reply(false).map_err(|error| format!("{request:.60?}: {error}"))?;
        // Even where more has been sent than was read, the end is no reset, which could overtake the answer.
        ensure!(reply.header("Connection").is_none() || client.is_closed(), "{request:.60?}: no clean end");
        ensure!(reply.status == status, "{request:.60?}: {}", reply.head);
    }
    ensure!(get(server.address, "http://any.host/digits.txt")?.text() == "0123456789", "absolute form");
    server.stop()
}

fn a_request_in_drips_is_answered(mode: Mode) -> Result {
    let server = Server::start(mode, &["--timeout", "5"])?;
    let mut client = Client::connect(server.address)?;
    for _ in 0..2 {
        for byte in b"GET /digits.txt HTTP/1.1\r\nHost: a\r\n\r\n" {
            client.send([*byte])?;
            std::thread::sleep(Duration::from_millis(5));
        }
        ensure!(client.reply(false)?.text() == "0123456789", "digits.txt");
    }
    server.stop()
}

fn a_head_that_takes_too_long(mode: Mode) -> Result {
    let server = Server::start(mode, &["--timeout", "0.5"])?;
    let mut client = Client::connect(server.address)?;
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\n")?;
    // A field now and then: it is the whole head that must be there in time.
    let mut dripper = client.stream.try_clone()?;
    let drip = std::thread::spawn(move || {
        while std::io::Write::write_all(&mut dripper, b"X: y\r\n").is_ok() && start.elapsed().as_secs() < 5 {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let reply = client.reply(false)?;
    ensure!(reply.status == 408, "{}", reply.head);
    let took = start.elapsed();
    ensure!(took >= Duration::from_millis(500) && took < Duration::from_secs(3), "after {took:?}");
    drop(client);
    drip.join().map_err(|_| "the dripping thread panicked")?;
    server.stop()
}

fn a_connection_that_says_nothing_is_closed(mode: Mode) -> Result {
    let server = Server::start(mode, &["--timeout", "0.5"])?;
    let start = Instant::now();
    let mut fresh = Client::connect(server.address)?;
    let mut used = Client::connect(server.address)?;
    used.get("/")?;
    ensure!(used.is_closed() && start.elapsed() < Duration::from_secs(5), "an idle connection stays open");
    ensure!(fresh.is_closed() && start.elapsed() < Duration::from_secs(5), "a silent connection stays open");
    ensure!(server.total("waiting")? == 0, "somebody still waits");
    server.stop()
}

fn a_client_that_does_not_read_is_dropped(mode: Mode) -> Result {
    let server = Server::start(mode, &["--timeout", "0.5"])?;
    let mut client = Client::connect_slow(server.address)?;
    client.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
    let gone = || {
        let status = server.status().unwrap_or_default();
        let open =
            status["children"].as_array().into_iter().flatten().filter_map(|child| child["connections"].as_u64());
        // The one that asks has no more than its own connection.
        open.sum::<u64>() <= 1
    };
    std::thread::sleep(Duration::from_millis(200));
    ensure!(crate::process::within(Duration::from_secs(5), gone), "it is still waited for: {}", server.status()?);
    ensure!(client.reply(false).is_err(), "all of it came, though nobody read");
    server.stop()
}

fn a_file_that_shrinks_breaks_the_connection(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let mut client = Client::connect_slow(server.address)?;
    client.send("GET /big.bin HTTP/1.1\r\nHost: a\r\n\r\n")?;
    std::thread::sleep(Duration::from_millis(200));
    File::options().write(true).open(server.root().join("big.bin"))?.set_len(1000)?;
    let start = Instant::now();
    let end = client.reply(false).err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(end.ends_with(&format!("of {BIG} bytes came")), "not a connection that breaks: {end:?}");
    ensure!(start.elapsed() < Duration::from_secs(5), "it breaks after {:?} only", start.elapsed());
    ensure!(get(server.address, "/digits.txt")?.status == 200, "the server is gone");
    ensure!(server.total("children_crashed")? == 0, "a child crashed");
    server.stop()
}

fn each_request_is_a_line_with_verbose(mode: Mode) -> Result {
    let server = Server::start(mode, &["--verbose"])?;
    let mut client = Client::connect(server.address)?;
    client.get("/digits.txt")?;
    client.ask("HEAD", "/missing", "")?;
    let local = client.stream.local_addr()?;
    server.line(&format!("web-server: {local} GET /digits.txt 200"))?;
    server.line(&format!("web-server: {local} HEAD /missing 404"))?;
    // Nothing but what a line should be reaches the terminal.
    client.get("/\u{9b}31m")?;
    server.line(&format!("web-server: {local} GET /\\u{{9b}}31m 404"))?;
    client.get("/\u{1b}[31m")?;
    server.line(&format!("web-server: {local} ? ? 400"))?;
    let quiet = Server::start(mode, &[])?;
    get(quiet.address, "/")?;
    ensure!(quiet.said().len() == 1, "{:?}", quiet.said());
    quiet.stop()?;
    server.stop()
}

fn the_status_is_right(mode: Mode) -> Result {
    let options: &[&str] = if mode == "prefork" { &["--workers", "3"] } else { &[] };
    let server = Server::start(mode, options)?;
    let mut client = Client::connect(server.address)?;
    for _ in 0..10 {
        client.get("/digits.txt")?;
    }
    let status: serde_json::Value = serde_json::from_slice(&client.get("/status.json")?.body)?;
    let expect = |what: &str, value: &serde_json::Value, expected: u64| -> Result {
        ensure!(value.as_u64() == Some(expected), "{what} is {value}, not {expected}: {status}");
        Ok(())
    };
    ensure!(status["mode"] == mode, "{status}");
    expect("pid", &status["pid"], server.pid as u64)?;
    for (name, expected) in [
        ("connections", 1),
        ("requests", 10),
        ("refused", 0),
        ("waiting", 0),
        ("children_started", if mode == "prefork" { 3 } else { 1 }),
        ("children_crashed", 0),
    ] {
        expect(name, &status["totals"][name], expected)?;
    }
    let children = status["children"].as_array().ok_or("no children")?;
    let mut pids: Vec<_> = children.iter().filter_map(|child| child["pid"].as_i64()).map(|pid| pid as i32).collect();
    let mut real = server.children();
    pids.sort_unstable();
    real.sort_unstable();
    ensure!(pids == real, "{pids:?} is not {real:?}");
    let busy: Vec<_> = children.iter().filter(|child| child["requests"] != 0).collect();
    ensure!(busy.len() == 1 && busy[0]["state"] == "answering", "{status}");
    expect("requests of the child", &busy[0]["requests"], 10)?;
    expect("bytes of all", &status["totals"]["bytes"], busy[0]["bytes"].as_u64().unwrap_or_default())?;
    // The page: the same figures, and it comes again by itself.
    let page = client.get("/status")?;
    let text = page.text();
    ensure!(page.header("Content-Type") == Some("text/html; charset=utf-8"), "{}", page.head);
    ensure!(page.header("Cache-Control") == Some("no-store"), "{}", page.head);
    ensure!(text.contains("http-equiv=\"refresh\" content=\"2\""), "{text}");
    ensure!(text.contains("<dt>requests</dt><dd>11</dd>"), "{text}");
    ensure!(text.contains(&format!("<td>{}</td>", busy[0]["pid"])), "{text}");
    for mark in ["{mode}", "{pid}", "{uptime}", "{tiles}", "{rows}"] {
        ensure!(!text.contains(mark), "{mark} is still in the page");
    }
    // And on the terminal.
    server.signal(Signal::SIGUSR1)?;
    let line = server.line("state: ")?;
    ensure!(line.contains("1 connections, 12 requests"), "{line}");
    server.line(&format!("pid {}", busy[0]["pid"]))?;
    server.stop()
}

fn the_status_is_for_this_machine(mode: Mode) -> Result<Completion> {
    let server = Launch::new(mode, &["--listen", "0.0.0.0"])?.start()?;
    // Nothing is sent; the kernel only tells which of the machine's addresses would be used.
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let own = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).map(|address| address.ip());
    let Some(own) = own.ok().filter(|ip| !ip.is_loopback()) else {
        return Ok(Completion::ignored_with("this machine has no address but the loopback one"));
    };
    let port = server.address.port();
    for target in ["/status", "/status.json"] {
        let reply = get((own, port).into(), target)?;
        ensure!(reply.status == 403, "{target} from {own}: {}", reply.head);
        ensure!(get(([127, 0, 0, 1], port).into(), target)?.status == 200, "{target} from here");
    }
    ensure!(get((own, port).into(), "/")?.status == 200, "the files are for everybody");
    drop(server);
    Ok(Completion::Completed)
}
