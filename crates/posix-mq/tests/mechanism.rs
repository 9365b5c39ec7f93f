//! The mechanism alone, as a copy of it is tested too.

use std::io;
use std::{process, thread};

use posix_mq::posix_mq::{self as mq, CAPACITY, MAX_MESSAGE, Queue};

/// A queue of its own for each test, removed even if the test fails.
struct Own(String, Queue);

impl Own {
    fn new(test: &str) -> io::Result<Own> {
        let name = format!("/posix-mq-mechanism-{}-{test}", process::id());
        let queue = Queue::create(&name)?;
        Ok(Own(name, queue))
    }

    fn take(&self) -> io::Result<(u32, Vec<u8>)> {
        let mut buffer = vec![0; MAX_MESSAGE];
        let (priority, len) = self.1.take(&mut buffer)?;
        buffer.truncate(len);
        Ok((priority, buffer))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = mq::remove(&self.0);
    }
}

#[test]
fn messages_stay_whole_and_the_highest_priority_comes_first() -> io::Result<()> {
    let own = Own::new("priority")?;
    let sender = Queue::open(&own.0)?;
    for (priority, text) in [(1, "low"), (9, "first of the high"), (9, "second"), (5, "")] {
        sender.put(priority, text.as_bytes())?;
    }
    let taken = (0..4).map(|_| own.take()).collect::<io::Result<Vec<_>>>()?;
    let expected = [(9, "first of the high"), (9, "second"), (5, ""), (1, "low")];
    assert_eq!(taken, expected.map(|(priority, text)| (priority, text.as_bytes().to_vec())));
    Ok(())
}

#[test]
fn a_full_queue_blocks_until_one_is_taken() -> io::Result<()> {
    let own = Own::new("full")?;
    let sender = Queue::open(&own.0)?;
    let count = CAPACITY * 20;
    let putting = thread::spawn(move || (0..count).try_for_each(|n| sender.put(1, n.to_string().as_bytes())));
    for n in 0..count {
        assert_eq!(own.take()?, (1, n.to_string().into_bytes()));
    }
    putting.join().expect("the sender panicked")
}

#[test]
fn an_end_that_must_not_block_says_so() -> io::Result<()> {
    let own = Own::new("nonblocking")?;
    let sender = Queue::open(&own.0)?;
    mq::stop_blocking(&own.1)?;
    assert_eq!(own.take().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    mq::stop_blocking(&sender)?;
    for _ in 0..CAPACITY {
        sender.put(1, b"x")?;
    }
    assert_eq!(sender.put(1, b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    Ok(())
}

#[test]
fn a_name_is_a_slash_and_no_other() {
    for name in ["", "/", "noslash", "/two/slashes", "//two"] {
        for made in [Queue::create(name), Queue::open(name)] {
            assert_eq!(made.err().map(|error| error.kind()), Some(io::ErrorKind::InvalidInput), "{name:?}");
        }
    }
}

#[test]
fn a_name_that_is_taken_is_refused_and_a_message_too_long_too() -> io::Result<()> {
    let own = Own::new("taken")?;
    assert_eq!(Queue::create(&own.0).map(drop).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    let sender = Queue::open(&own.0)?;
    sender.put(1, &[7; MAX_MESSAGE])?;
    assert!(sender.put(1, &[7; MAX_MESSAGE + 1]).is_err());
    assert_eq!(own.take()?.1.len(), MAX_MESSAGE);
    Ok(())
}
