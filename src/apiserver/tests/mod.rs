//! What holds, through kube's own client.

mod basics;
mod bed;
mod runtime;
