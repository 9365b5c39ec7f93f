//! The target of a request: from the text between method and version to a path below the root, or a refusal.
//!
//! What is refused here never reaches the file system. It is the first of two lines of defence; the second is
//! openat2(2) in `files.rs`, which would hold alone.
//!
//! Standards: RFC 9112, section 3.2; RFC 3986, section 2.1.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::reply::Status;

/// All but the unreserved characters and the slash.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    path: PathBuf,
    directory: bool,
}

impl Target {
    /// Takes a target apart, in origin form (`/a/b?c`) or absolute form (`http://host/a/b`).
    ///
    /// # Errors
    /// 400 for what is malformed or leads upwards; 404 for a name that begins with a dot.
    pub fn parse(text: &str) -> Result<Target, Status> {
        let text = origin_form(text)?;
        let path = text.split_once('?').map_or(text, |(path, _query)| path);
        let path = path.strip_prefix('/').ok_or(Status::BadRequest)?;
        let mut bytes = Vec::with_capacity(path.len() + 1);
        // Taken apart first and decoded second: a slash that was encoded separates nothing.
        for segment in path.split('/') {
            let from = bytes.len();
            if segment.contains('%') {
                decode(segment, &mut bytes)?;
            } else {
                bytes.extend_from_slice(segment.as_bytes());
            }
            match &bytes[from..] {
                b"" | b"." => bytes.truncate(from),
                name if name.iter().any(|byte| matches!(byte, 0 | b'/')) => return Err(Status::BadRequest),
                b".." => return Err(Status::BadRequest),
                // .git, .htpasswd, …: who put it there did not mean to publish it.
                [b'.', ..] => return Err(Status::NotFound),
                _ => bytes.push(b'/'),
            }
        }
        let directory = matches!(path.rsplit('/').next(), None | Some("" | "."));
        bytes.pop();
        Ok(Target { path: OsString::from_vec(bytes).into(), directory })
    }

    /// The path below the root; empty for the root itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does it end with a slash, and so name a directory?
    pub fn is_directory(&self) -> bool {
        self.directory
    }

    /// The same target as a directory. It begins with exactly one slash: two would name another host.
    pub fn as_directory(&self) -> String {
        format!("/{}/", percent_encode(self.path.as_os_str().as_bytes(), ENCODED))
    }
}

/// Strips scheme and host.
fn origin_form(text: &str) -> Result<&str, Status> {
    // A fragment is the client's own business and is not sent.
    if text.contains('#') {
        return Err(Status::BadRequest);
    }
    if text.starts_with('/') {
        return Ok(text);
    }
    let begins = |scheme: &&str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = ["http://", "https://"].into_iter().find(begins).ok_or(Status::BadRequest)?;
    let rest = &text[scheme.len()..];
    match rest.find(['/', '?']) {
        Some(0) => Err(Status::BadRequest),
        Some(at) if rest[at..].starts_with('/') => Ok(&rest[at..]),
        _ if rest.is_empty() => Err(Status::BadRequest),
        _ => Ok("/"),
    }
}

fn decode(segment: &str, into: &mut Vec<u8>) -> Result<(), Status> {
    // The decoder leaves a percent sign that begins nothing as it is; here that is an error.
    let whole = |rest: &str| matches!(rest.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    if !segment.split('%').skip(1).all(whole) {
        return Err(Status::BadRequest);
    }
    into.extend(percent_decode_str(segment));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<String, Status> {
        Target::parse(text).map(|target| {
            let slash = if target.is_directory() { "/" } else { "" };
            format!("{}{slash}", target.path().display())
        })
    }

    #[test]
    fn targets_become_paths() {
        for (text, expected) in [
            ("/", "/"),
            ("/a/b.html", "a/b.html"),
            ("/a/b/?c=/../d", "a/b/"),
            ("//a///b/./c", "a/b/c"),
            ("/a/.", "a/"),
            ("/a%20b/%ED%95%9C", "a b/한"),
            ("/%61", "a"),
            ("/a..b/c...", "a..b/c..."),
            ("/%2561", "%61"),
            ("http://host/a", "a"),
            ("HTTP://host:80", "/"),
            ("http://host?query", "/"),
        ] {
            assert_eq!(path(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_leads_astray_is_refused() {
        for text in ["/..", "/../etc/passwd", "/a/%2e%2e/b", "/a/.%2E", "/..%2f", "/a%2fb", "/%00", "/a%00.html"] {
            assert_eq!(path(text), Err(Status::BadRequest), "{text}");
        }
        for text in ["", "*", "a", "/a#b", "ftp://host/a", "http://", "http:///a", "/%", "/%4", "/%zz", "/a%4/b"] {
            assert_eq!(path(text), Err(Status::BadRequest), "{text}");
        }
        for text in ["/.git/config", "/a/.htpasswd", "/%2egit", "/...", "/..a"] {
            assert_eq!(path(text), Err(Status::NotFound), "{text}");
        }
    }

    #[test]
    fn a_redirect_stays_on_this_host() {
        for (text, expected) in [("//evil.example", "/evil.example/"), ("/a b/%0d%0a한", "/a%20b/%0D%0A%ED%95%9C/")] {
            assert_eq!(Target::parse(text).unwrap().as_directory(), expected);
        }
    }
}
