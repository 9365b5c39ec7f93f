//! A request: its head, taken apart and checked.
//!
//! Standards: RFC 9112 (the message), RFC 9110 (the fields).

use std::mem::MaybeUninit;
use std::time::SystemTime;

use crate::reply::Status;

/// Bytes that the head of a request may have.
pub const LIMIT: usize = 8 << 10;
/// Fields that it may have.
const FIELDS: usize = 64;
/// Bytes of a body that are read and thrown away, so that the connection can be used again.
const BODY_LIMIT: u64 = 64 << 10;

/// What the client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The file.
    Get,
    /// What GET would be answered with, without the file.
    Head,
    /// Something that HTTP knows and this server does not do.
    Other,
    /// Something that HTTP does not know.
    Unknown,
}

/// The head of a request.
#[derive(Debug)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The method, as it was sent.
    pub verb: &'a str,
    /// The target, as it was sent.
    pub target: &'a str,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor: u8,
    /// May another request follow on this connection?
    pub keep_alive: bool,
    /// Bytes of a body that follow the head.
    pub body: u64,
    /// Does a body of unknown length follow?
    pub chunked: bool,
    /// If-Modified-Since, where it counts.
    pub modified_since: Option<SystemTime>,
    /// Range.
    pub range: Option<&'a str>,
    /// If-Range: a date, or something that is none.
    pub if_range: Option<Option<SystemTime>>,
}

/// What there is in the bytes that have come so far.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// Not all of a head.
    Partial,
    /// A head, and how many bytes it has.
    Whole(Request<'a>, usize),
    /// Nothing that can be answered otherwise. What follows it cannot be understood.
    Refused(Status),
}

/// Looks for the head of a request.
pub fn parse(input: &[u8]) -> Parsed<'_> {
    let mut fields = [MaybeUninit::uninit(); FIELDS];
    let mut head = httparse::Request::new(&mut []);
    match head.parse_with_uninit_headers(input, &mut fields) {
        Ok(httparse::Status::Partial) if input.len() < LIMIT => Parsed::Partial,
        Ok(httparse::Status::Partial) if !input.contains(&b'\n') => Parsed::Refused(Status::UriTooLong),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Parsed::Refused(Status::RequestHeaderFieldsTooLarge)
        }
        Err(httparse::Error::Version) if is_other_version(input) => Parsed::Refused(Status::HttpVersionNotSupported),
        Err(_) => Parsed::Refused(Status::BadRequest),
        Ok(httparse::Status::Complete(len)) => match understand(&head) {
            Ok(request) => Parsed::Whole(request, len),
            Err(status) => Parsed::Refused(status),
        },
    }
}

/// Does the first line end with `HTTP/` and a number?
fn is_other_version(input: &[u8]) -> bool {
    let line = input.trim_ascii_start().split(|&byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let version = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    matches!(version.strip_prefix(b"HTTP/"), Some([major, rest @ ..])
        if major.is_ascii_digit() && matches!(rest, [] | [b'.', _]))
}

fn understand<'a>(head: &httparse::Request<'_, 'a>) -> Result<Request<'a>, Status> {
    let minor = head.version.unwrap_or_default();
    let mut request = Request {
        method: match head.method.unwrap_or_default() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => Method::Other,
            _ => Method::Unknown,
        },
        verb: head.method.unwrap_or_default(),
        target: head.path.unwrap_or_default(),
        minor,
        keep_alive: minor == 1,
        body: 0,
        chunked: false,
        modified_since: None,
        range: None,
        if_range: None,
    };
    let (mut hosts, mut length, mut expects, mut if_none_match) = (0, None, false, false);
    for field in head.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        let text = || str::from_utf8(field.value).map(str::trim).map_err(|_| Status::BadRequest);
        if is("Host") {
            hosts += 1;
        } else if is("Connection") {
            for option in text()?.split(',').map(str::trim) {
                if option.eq_ignore_ascii_case("close") {
                    request.keep_alive = false;
                } else if option.eq_ignore_ascii_case("keep-alive") && minor == 0 {
                    request.keep_alive = true;
                }
            }
        } else if is("Content-Length") {
            let text = text()?;
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let new: u64 = text.parse().ok().filter(|_| digits).ok_or(Status::BadRequest)?;
            // Two lengths: whoever stands between client and server may have believed the other one.
            if length.replace(new).is_some_and(|old| old != new) {
                return Err(Status::BadRequest);
            }
        } else if is("Transfer-Encoding") {
            request.chunked = true;
        } else if is("Expect") {
            expects = true;
            if !text()?.eq_ignore_ascii_case("100-continue") {
                return Err(Status::ExpectationFailed);
            }
        } else if is("If-Modified-Since") {
            // A date that is none is no condition (RFC 9110, section 13.1.3).
            request.modified_since = text().ok().and_then(|text| httpdate::parse_http_date(text).ok());
        } else if is("If-None-Match") {
            if_none_match = true;
        } else if is("Range") {
            request.range = text().ok();
        } else if is("If-Range") {
            request.if_range = Some(text().ok().and_then(|text| httpdate::parse_http_date(text).ok()));
        }
    }
    if hosts > 1 || (hosts == 0 && minor == 1) || (request.chunked && length.is_some()) {
        return Err(Status::BadRequest);
    }
    if if_none_match {
        // It outranks the date, and no tag matches where none is given out.
        request.modified_since = None;
    }
    request.body = length.unwrap_or(0);
    // The end of such a body cannot be told, or would cost more than a new connection.
    if request.chunked || request.body > BODY_LIMIT || (expects && request.body > 0) {
        request.keep_alive = false;
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Status {
        match parse(text.as_bytes()) {
            Parsed::Refused(status) => status,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_head_is_whole_or_partial() {
        let text = b"HEAD /a HTTP/1.1\r\nhost: b\r\nRange: bytes=0-1\r\n\r\nGET /";
        for len in 0..text.len() - 5 {
            assert!(matches!(parse(&text[..len]), Parsed::Partial), "{len}");
        }
        let Parsed::Whole(request, len) = parse(text) else { panic!() };
        assert_eq!((request.method, request.target, len), (Method::Head, "/a", text.len() - 5));
        assert!(request.keep_alive && request.range == Some("bytes=0-1"));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for head in [
            "GET /\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTQ/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/x.y\r\nHost: a\r\n\r\n",
            "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
            "\x16\x03\x01\x02\r\n",
        ] {
            assert_eq!(refused(head), Status::BadRequest, "{head:?}");
        }
        assert_eq!(refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), Status::HttpVersionNotSupported);
        assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n"), Status::ExpectationFailed);
        assert_eq!(refused(&format!("GET /{}", "a".repeat(LIMIT))), Status::UriTooLong);
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nB: {}", "b".repeat(LIMIT));
        assert_eq!(refused(&long), Status::RequestHeaderFieldsTooLarge);
        let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(FIELDS));
        assert_eq!(refused(&many), Status::RequestHeaderFieldsTooLarge);
    }

    #[test]
    fn a_connection_is_kept_where_its_next_request_can_be_found() {
        for (head, keep) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ] {
            let Parsed::Whole(request, _) = parse(head.as_bytes()) else { panic!("{head:?}") };
            assert_eq!(request.keep_alive, keep, "{head:?}");
        }
    }
}
