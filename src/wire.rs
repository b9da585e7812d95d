//! Where adapters meet ports.

use std::io;
use std::sync::Arc;

use tagwarden_app::ports::FindingSink;
use tagwarden_aws::{AwsError, AwsInventory, AwsSettings};
use tagwarden_core::registry::Registry;
use tagwarden_core::report::{ScanReport, ViolationRow};
use tagwarden_store::{RunRecorder, StoreError};

use crate::render::writer::ReportWriter;

/// Listings side by side in one region of one account: enough to hide their latency behind one another, few
/// enough that a region takes a handful of connections.
pub const LISTINGS_PER_REGION: usize = 8;

/// The resources of AWS accounts, through the credentials of the environment.
pub async fn inventory(registry: &Arc<Registry>) -> Result<AwsInventory, AwsError> {
    let ca_bundle = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()).map(Into::into);
    AwsInventory::connect(AwsSettings { ca_bundle, ..AwsSettings::new(Arc::clone(registry)) }).await
}

/// Findings for the reader, and for the store where there is one. A store that fails on the way costs the
/// record, not the result: the document is written all the same, and the failure is told at the end.
pub struct Recorded {
    writer: ReportWriter,
    recorder: Option<RunRecorder>,
    failure: Option<StoreError>,
}

impl Recorded {
    pub fn new(writer: ReportWriter, recorder: Option<RunRecorder>) -> Self {
        Self { writer, recorder, failure: None }
    }

    /// What became of the record.
    pub fn close(self) -> Result<(), StoreError> {
        self.failure.map_or(Ok(()), Err)
    }

    fn recorded(&mut self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            self.recorder = None;
            self.failure = Some(error);
        }
    }
}

impl FindingSink for Recorded {
    type Error = io::Error;

    async fn findings(&mut self, rows: &[ViolationRow]) -> io::Result<()> {
        if let Some(recorder) = &mut self.recorder {
            let result = recorder.findings(rows).await;
            self.recorded(result);
        }
        self.writer.findings(rows).await
    }

    async fn finish(&mut self, report: &ScanReport) -> io::Result<()> {
        if let Some(recorder) = &mut self.recorder {
            let result = recorder.finish(report).await;
            self.recorded(result);
        }
        self.writer.finish(report).await
    }
}
