//! AWS: entering accounts, and listing what is in them.
//!
//! The only room that names `aws-*` crates. It implements the ports [`Inventory`](tagwarden_app::ports::Inventory)
//! and [`Session`](tagwarden_app::ports::Session), and decides nothing about compliance: it turns the pages of AWS
//! into pages of resources, and every refusal of AWS into a gap with a cause that a person can act upon.
//!
//! Three rules hold everywhere in here. A listing that did not come to its end is an error, never a shorter
//! listing. Tags that could not be read are unread, never empty. Nothing is asked resource by resource while a
//! bulk call works.

mod client;
mod http;
mod inventory;
mod lean;
mod limits;
mod list;
mod refusal;
mod session;
mod traffic;
mod verify;
mod whole;

pub use inventory::{AwsError, AwsInventory, AwsSettings};
pub use session::AwsSession;
pub use verify::AwsVisit;

#[cfg(test)]
#[path = "tests/stub.rs"]
mod stub;
#[cfg(test)]
mod tests;
