//! `iceoryx2`, by the Eclipse Foundation: publish-subscribe in shared memory.
//!
//! One publisher, one subscriber, nothing is overwritten: a publisher whose subscriber is behind waits. `--wait spin`
//! asks for the next sample again and again, the way of the library's own benchmark; `--wait block` is its
//! event-driven way: a notification for each sample, and a subscriber that sleeps in its listener. A publisher that
//! waits for room does so in the library's own way, which is to try again, with pauses that grow.
//!
//! The message is copied into the sample, as the other rows' are into their channels, and is read where it lies.

use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, io, mem, thread};

use common::{Error, Receiver, Result, Sender};
use iceoryx2::config::Config;
use iceoryx2::port::backpressure_strategy::BackpressureStrategy;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::{
    FileName, LogLevel, Node, NodeBuilder, SemanticString, ServiceName, SignalHandlingMode, ipc, set_log_level,
};
use iceoryx2::sample::Sample;
use iceoryx2::service::port_factory::{PortFactory as _, event, publish_subscribe};

use crate::results::Wait;
use crate::source::Setup;

type Service = ipc::Service;

/// Samples that may be on their way: as many bytes as in the ring of the technique `shm`, and at least a few.
const BYTES: usize = 4 << 20;
const SAMPLES: std::ops::RangeInclusive<usize> = 4..=1024;

/// When a subscriber looks without having been notified. Version 0.10.0 can lose a notification for good: one whose
/// datagram the listener has taken already with the last one's is noted as still to be taken, and none is sent while that
/// is so. To wait with a limit makes the same system calls as to wait without.
const LOST: Duration = Duration::from_millis(10);

/// The sending end.
pub struct Tx {
    publisher: Publisher<Service, [u8], ()>,
    notifier: Option<Notifier<Service>>,
    ports: Ports,
}

/// The receiving end.
pub struct Rx {
    /// Given back before the next one is taken.
    sample: Option<Sample<Service, [u8], ()>>,
    subscriber: Subscriber<Service, [u8], ()>,
    listener: Option<Listener<Service>>,
    _ports: Ports,
}

/// The services of one channel, opened by one process.
struct Ports {
    messages: publish_subscribe::PortFactory<Service, [u8], ()>,
    news: event::PortFactory<Service>,
    _node: Node<Service>,
}

/// A channel with its own root folder and prefix. All of the library is used after the fork(2).
pub fn channel(
    setup: &Setup<'_>,
) -> Result<(impl FnOnce() -> Result<Tx> + use<>, impl FnOnce() -> Result<Rx> + use<>)> {
    static CHANNELS: AtomicU32 = AtomicU32::new(0);
    // No more than two are there at the same time.
    let number = CHANNELS.fetch_add(1, Ordering::Relaxed) % 100;
    // The listener's socket, with its number of 39 digits, must fit into the 108 bytes of unix(7).
    let root = setup.dir.join("i");
    // The private folder's name, shortened; scripts/leftovers.sh knows its beginning.
    let folder = setup.dir.file_name().unwrap_or_default().to_string_lossy().replace("run-bench-", "");
    let prefix = format!("{folder}-{number}-");
    let (size, wait) = (setup.size, setup.wait);
    let config = config(&root, &prefix)?;
    setup.undo.borrow_mut().push(Box::new(move || clear(&root, &prefix)));
    let (for_sender, for_receiver) = (config.clone(), config);
    Ok((move || Tx::new(&for_sender, size, wait), move || Rx::new(&for_receiver, size, wait)))
}

fn config(root: &Path, prefix: &str) -> Result<Config> {
    let mut config = Config::default();
    let root = iceoryx2::prelude::Path::new(root.as_os_str().as_encoded_bytes()).map_err(failed("Path::new"))?;
    config.global.set_root_path(&root);
    config.global.prefix = FileName::new(prefix.as_bytes()).map_err(failed("FileName::new"))?;
    config.global.service.event_connection_suffix = FileName::new(b".e").map_err(failed("FileName::new"))?;
    // A process ends while the other may still want to read what it has left; see `Tx::finish`.
    config.global.service.cleanup_dead_nodes_on_open = false;
    config.global.node.cleanup_dead_nodes_on_creation = false;
    config.global.node.cleanup_dead_nodes_on_destruction = false;
    Ok(config)
}

/// Removes what the two processes have left, whatever became of them: nobody else uses these names.
fn clear(root: &Path, prefix: &str) {
    let _ = fs::remove_dir_all(root);
    let memory = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    for entry in memory.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        let _ = fs::remove_file(entry.path());
    }
}

impl Ports {
    fn open(config: &Config, size: usize) -> Result<Ports> {
        set_log_level(LogLevel::Fatal);
        let node = NodeBuilder::new()
            .config(config)
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create::<Service>()
            .map_err(failed("NodeBuilder::create"))?;
        let name = ServiceName::new("bench").map_err(failed("ServiceName::new"))?;
        let messages = node
            .service_builder(&name)
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .subscriber_max_buffer_size((BYTES / size).clamp(*SAMPLES.start(), *SAMPLES.end()))
            .history_size(0)
            .max_publishers(1)
            .max_subscribers(1)
            .open_or_create()
            .map_err(failed("open a publish-subscribe service"))?;
        let news = node.service_builder(&name).event().open_or_create().map_err(failed("open an event service"))?;
        Ok(Ports { messages, news, _node: node })
    }
}

impl Tx {
    fn new(config: &Config, size: usize, wait: Wait) -> Result<Tx> {
        let ports = Ports::open(config, size)?;
        let publisher = ports
            .messages
            .publisher_builder()
            .initial_max_slice_len(size)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()
            .map_err(failed("create a publisher"))?;
        // What is published while nobody subscribes is nobody's. A subscriber comes after its listener.
        while ports.messages.dynamic_config().number_of_subscribers() == 0 {
            thread::sleep(Duration::from_micros(100));
        }
        let notifier = match wait {
            Wait::Block => Some(ports.news.notifier_builder().create().map_err(failed("create a notifier"))?),
            Wait::Spin => None,
        };
        Ok(Tx { publisher, notifier, ports })
    }

    /// Returns how many subscribers will receive it.
    fn publish(&self, message: &[u8]) -> Result<usize> {
        let sample = self.publisher.loan_slice_uninit(message.len()).map_err(failed("Publisher::loan_slice_uninit"))?;
        sample.write_from_slice(message).send().map_err(failed("SampleMut::send"))
    }
}

impl Sender for Tx {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        // Until the subscriber has connected, which is when it first receives, what finds the buffer full goes to nobody.
        while self.publish(message)? == 0 {
            thread::yield_now();
        }
        if let Some(notifier) = &self.notifier {
            notifier.notify().map_err(failed("Notifier::notify"))?;
        }
        Ok(())
    }

    /// A subscriber that has not looked yet would not find a publisher that has gone, so it stays; `clear` removes
    /// its memory.
    fn finish(self) -> Result<()> {
        mem::forget((self.publisher, self.ports));
        Ok(())
    }
}

impl Rx {
    fn new(config: &Config, size: usize, wait: Wait) -> Result<Rx> {
        let ports = Ports::open(config, size)?;
        let listener = match wait {
            Wait::Block => Some(ports.news.listener_builder().create().map_err(failed("create a listener"))?),
            Wait::Spin => None,
        };
        let subscriber = ports.messages.subscriber_builder().create().map_err(failed("create a subscriber"))?;
        Ok(Rx { sample: None, subscriber, listener, _ports: ports })
    }
}

impl Receiver for Rx {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        self.sample = None;
        loop {
            self.sample = self.subscriber.receive().map_err(failed("Subscriber::receive"))?;
            if self.sample.is_some() {
                break;
            }
            match &self.listener {
                // A notification that came before the last look only makes for one more.
                Some(listener) => {
                    listener.timed_wait(|_| {}, LOST).map_err(failed("Listener::timed_wait"))?;
                }
                None => std::hint::spin_loop(),
            }
        }
        Ok(self.sample.as_ref().map(|sample| -> &[u8] { sample.payload() }))
    }
}

fn failed<E: Debug>(doing: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::System { doing: doing.to_owned(), source: io::Error::other(format!("{error:?}")), hint: None }
}
