//! What a shell gives to the program: words, an output that nobody takes, a signal that is ignored.

use std::fs::File;
use std::io;

use crate::process::{Ended, command, command_of, end_of, run};
use crate::table::{TOTAL, total};
use crate::{Result, ensure};

pub fn bad_input() -> Result {
    let cases: [(&[&str], &str); 12] = [
        (&["--from", "5", "--to", "4"], "--from 5 is above --to 4"),
        (&["--workers", "0"], "not a whole number from 1 to 1000"),
        (&["--workers", "1001"], "not a whole number from 1 to 1000"),
        (&["--workers", "-1"], "not a whole number from 1 to 1000"),
        (&["--to", "3"], "10 workers, but only 3 numbers to add"),
        (&["--to", "18446744073709551616"], "not a whole number from 0 to 18446744073709551615"),
        (&["--to", "1e6"], "not a whole number"),
        (&["--from", "-1"], "not a whole number"),
        (&["--from", ""], "not a whole number"),
        (&["--via", "telepathy"], "there are file, "),
        (&["--via"], "a value is required"),
        (&["10000"], "unexpected argument"),
    ];
    for (words, why) in cases {
        let Ended { code, stdout, stderr } = run(command(words))?;
        ensure!(code == Some(2) && stdout.is_empty(), "{words:?}: {code:?}\n{stdout}{stderr}");
        ensure!(stderr.starts_with("parallel-sum: ") && stderr.contains(why), "{words:?}: {stderr}");
        ensure!(stderr.lines().count() == 1 && stderr.ends_with("; see --help\n"), "{words:?}: {stderr}");
    }
    for (word, begin) in [("--help", "Adds up a range of numbers"), ("--version", "parallel-sum 0.")] {
        let Ended { code, stdout, .. } = run(command(&[word]))?;
        ensure!(code == Some(0) && stdout.starts_with(begin), "{stdout}");
    }
    Ok(())
}

pub fn ignored_sigchld() -> Result {
    let Ended { code, stdout, stderr } = run(command_of(&["env", "--ignore-signal=CHLD"], &["--via", "fifo"]))?;
    ensure!(code == Some(0) && total(&stdout) == Some(TOTAL), "{code:?}\n{stdout}{stderr}");
    Ok(())
}

pub fn closed_output() -> Result {
    for via in ["pipe", "all"] {
        let (reader, writer) = io::pipe()?;
        drop(reader);
        let mut command = command(&["--via", via]);
        command.stdout(writer);
        let child = command.spawn()?;
        drop(command);
        let Ended { code, stderr, .. } = end_of(child)?;
        ensure!(code == Some(0) && stderr.is_empty(), "{via}: {code:?} {stderr}");
    }
    Ok(())
}

pub fn full_output() -> Result {
    for via in ["pipe", "all"] {
        let mut command = command(&["--via", via]);
        command.stdout(File::options().write(true).open("/dev/full")?);
        let Ended { code, stderr, .. } = run(command)?;
        ensure!(code == Some(1), "{via}: {code:?} {stderr}");
        ensure!(stderr == "parallel-sum: write to standard output: ENOSPC: No space left on device\n", "{stderr}");
    }
    Ok(())
}
