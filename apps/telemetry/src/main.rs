//! Telemetry: lines of a meter to readings at two brokers, one above over TLS and one on this device.
//!
//! Invariant: a broker that is away costs the oldest readings, never memory, and never the other broker's readings.

mod link;
mod meter;
mod mqtt;
mod notify;
mod pulse;
mod queue;
mod settings;
mod tls;

use link::Link;
use pulse::Pulse;
use queue::Queue;
use settings::Settings;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Readings that wait for each broker: hours of a meter that speaks every ten seconds.
const QUEUE_LIMIT: usize = 1024;
/// The manifest's watchdog allows 60 seconds.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Longer than any one wait of a worker: name resolution is the longest.
const PULSE_LIMIT: Duration = Duration::from_secs(25);

fn main() -> ExitCode {
    match run() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("telemetry: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts one worker for the meter and one for each broker, and vouches for them for as long as all show life.
fn run() -> Result<std::convert::Infallible, String> {
    let settings = Settings::from_env()?;
    let meter = meter::open(&settings.uart)?;
    let mut pulses = Vec::new();
    let mut queues = Vec::new();
    for broker in settings.brokers {
        let (queue, pulse) = (Arc::new(Queue::new(QUEUE_LIMIT)), Pulse::default());
        queues.push(Arc::clone(&queue));
        pulses.push(pulse.clone());
        let link = Link::new(broker, queue, pulse);
        worker("link", move || link.run())?;
    }
    let pulse = Pulse::default();
    pulses.push(pulse.clone());
    let prefix = settings.topic;
    worker("meter", move || {
        let end = meter::read(&meter, &pulse, |reading| {
            for lost in queues.iter().filter_map(|queue| queue.push(reading.message(&prefix))) {
                eprintln!("telemetry: a broker is away too long, dropped: {}", lost.topic);
            }
        });
        eprintln!("telemetry: the meter's line broke: {end}");
        // Nothing to do without a meter; the system starts the app again, with a pause between.
        std::process::exit(1);
    })?;
    notify::send("READY=1");
    loop {
        std::thread::sleep(TELL_EVERY);
        if pulses.iter().all(|pulse| pulse.age() < PULSE_LIMIT) {
            notify::send("WATCHDOG=1");
        }
    }
}

/// The stack is what TLS needs, with room; the default would be eight times that.
fn worker(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(256 << 10);
    builder.spawn(work).map(drop).map_err(|e| format!("cannot start a thread: {e}"))
}
