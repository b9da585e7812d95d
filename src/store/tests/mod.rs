//! One suite, run over a SQLite file and over a real PostgreSQL.

mod audits;
mod bed;
mod calls;
mod history;
mod keys;
mod opening;
mod recording;
mod retention;
mod round_trip;
mod samples;

/// Makes two tests of each case: the same store, over each database.
macro_rules! on_both {
    ($($(#[$attribute:meta])* async fn $name:ident($bed:ident) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn case($bed: TestBed) $body

            #[tokio::test]
            async fn sqlite() {
                case(TestBed::sqlite()).await;
            }

            #[tokio::test]
            async fn postgres() {
                case(TestBed::postgres()).await;
            }
        }
    )*};
}
pub(crate) use on_both;
