//! Writes its arguments into a mapped file: the mechanism and nothing else. Its partner is `mmap-file-plain-receiver`,
//! which makes the file and therefore starts first; its header shows how.

use std::env;
use std::io;
use std::path::Path;

use mmap_file::mmap_file::Writer;

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let path = args.next().expect("usage: mmap-file-plain-sender PATH [TEXT]...");
    let mut writer = Writer::open(Path::new(&path), false)?;
    for text in args {
        writer.put_all(format!("{text}\n").as_bytes())?;
    }
    writer.end()
}
