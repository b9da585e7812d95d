//! What holds, through kube's own client.

mod basics;
mod bed;
mod history;
mod lifecycle;
mod lists;
mod load;
mod outage;
mod replicas;
mod rules;
mod runtime;
mod watches;
