//! How far a scan is: a bar on a terminal, plain lines elsewhere, never on stdout.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tagwarden_app::scan::Progress;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows what the channel says until its sender is gone.
pub async fn show(progress: watch::Receiver<Progress>) {
    if std::io::stderr().is_terminal() { bar(progress).await } else { lines(progress).await }
}

async fn bar(mut progress: watch::Receiver<Progress>) {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let template = "{spinner} {wide_bar} {pos}/{len} cells  {msg}  {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    while progress.changed().await.is_ok() {
        let now = *progress.borrow_and_update();
        bar.set_length(now.cells as u64);
        bar.set_position(now.cells_done as u64);
        bar.set_message(words(&now));
    }
    bar.finish_and_clear();
}

async fn lines(mut progress: watch::Receiver<Progress>) {
    let mut tick = interval_at(Instant::now() + LINE_EVERY, LINE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Progress::default();
    loop {
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { break },
            _ = tick.tick() => {
                let now = *progress.borrow();
                if now != last {
                    anstream::eprintln!("scanning: {}/{} cells, {}", now.cells_done, now.cells, words(&now));
                    last = now;
                }
            }
        }
    }
}

fn words(now: &Progress) -> String {
    let throttles = if now.throttled > 0 { format!(", {} throttled", now.throttled) } else { String::new() };
    if now.cells == 0 {
        format!("{}/{} accounts entered{throttles}", now.accounts_surveyed, now.accounts)
    } else {
        format!("{} resources{throttles}", now.resources)
    }
}
