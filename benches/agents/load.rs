//! Many agents at once, for a while: what they get answered, and what of it stays in the memory of the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::bed::Outcome;
use crate::bed::process::Memory;
use crate::client::{Answer, Client};
use crate::times::Times;
use crate::truth::Expected;

/// Between two looks at the memory.
const GLANCE: Duration = Duration::from_millis(250);

/// What an agent does, over and over. Every client begins at another place.
#[derive(Debug, Clone, Copy)]
enum Step {
    Check,
    Accounts,
    Run,
    Tools,
    Resources,
    Policy,
}

const STEPS: [Step; 10] = [
    Step::Check,
    Step::Accounts,
    Step::Check,
    Step::Run,
    Step::Tools,
    Step::Check,
    Step::Resources,
    Step::Check,
    Step::Policy,
    Step::Run,
];

/// What came of it.
pub struct Load {
    pub elapsed: Duration,
    pub times: Times,
    /// Memory, and when.
    pub memory: Vec<(Duration, Memory)>,
}

/// Lets a client for each key ask without pause for so long. Whatever goes wrong for one of them is an error.
pub async fn run(
    address: SocketAddr,
    keys: &[String],
    process: &str,
    expected: &Expected,
    duration: Duration,
) -> Outcome<Load> {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (number, key) in keys.iter().enumerate() {
        let (key, expected) = (key.clone(), expected.clone());
        clients.spawn(async move {
            let mut client = Client::connect(address, &key).await?;
            let mut times = Times::default();
            for step in STEPS.iter().cycle().skip(number % STEPS.len()) {
                if began.elapsed() >= duration {
                    break;
                }
                let asked = Instant::now();
                take(*step, &mut client, &expected).await?;
                times.push(asked.elapsed());
            }
            Outcome::Ok(times)
        });
    }
    let (mut times, mut memory) = (Times::default(), Vec::new());
    let mut glances = tokio::time::interval(GLANCE);
    loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(ended) => times.extend(ended??),
                None => break,
            },
            _ = glances.tick() => memory.extend(Memory::of(process).map(|memory| (began.elapsed(), memory))),
        }
    }
    Ok(Load { elapsed: began.elapsed(), times, memory })
}

async fn take(step: Step, client: &mut Client, expected: &Expected) -> Outcome<()> {
    let none = json!({});
    match step {
        Step::Check => expected.check(&client.call("check_tag_compliance", &none).await?),
        Step::Run => expected.run(&client.call("get_run", &json!({"run_id": expected.run_id})).await?),
        Step::Accounts => holds(client.call("list_accounts", &none).await?, |value| value["total"] == 1),
        Step::Tools => {
            holds(client.ask("tools/list", &none).await?, |value| listed(&value["tools"]) == expected.tools)
        }
        Step::Resources => {
            // The accounts, the policy, the audit, and each run.
            holds(client.ask("resources/list", &none).await?, |value| listed(&value["resources"]) >= 4)
        }
        Step::Policy => {
            let uri = json!({"uri": "tagwarden://policy/bench"});
            holds(client.ask("resources/read", &uri).await?, |value| listed(&value["contents"]) == 1)
        }
    }
}

pub fn listed(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

fn holds(answer: Answer, what: impl Fn(&Value) -> bool) -> Outcome<()> {
    if what(&answer.value) { Ok(()) } else { Err(format!("not as it should be: {}", answer.value).into()) }
}

impl Load {
    /// What was resident of its own, in megabytes: the median between these shares of the time.
    pub fn own_megabytes(&self, from: f64, to: f64) -> f64 {
        let within = |at: &Duration| (from..=to).contains(&(at.as_secs_f64() / self.elapsed.as_secs_f64()));
        let mut own: Vec<f64> =
            self.memory.iter().filter(|(at, _)| within(at)).map(|(_, memory)| memory.own).collect();
        own.sort_by(f64::total_cmp);
        own.get(own.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub fn peak_megabytes(&self) -> f64 {
        self.memory.iter().map(|(_, memory)| memory.peak).fold(0.0, f64::max)
    }
}
