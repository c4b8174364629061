//! The alarm of the real daemon: tokio-cron-scheduler, armed for one instant at a time.
//!
//! Its own cron jobs in a zone fire an hour off after a change of the clocks, so the instants are computed by
//! [`Schedule`](crate::model::Schedule). What it brings is that it compares wall-clock times twice a
//! second: a machine that has slept through the instant rings when it wakes.

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::daemon::Alarm;
use crate::clock::Clock;

/// An alarm by the machine's wall clock.
pub struct WallAlarm {
    scheduler: JobScheduler,
    clock: Clock,
}

impl WallAlarm {
    /// Starts the scheduler.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn start(clock: Clock) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        scheduler.start().await?;
        Ok(Self { scheduler, clock })
    }

    async fn arm(&self, at: DateTime<Utc>) -> Result<oneshot::Receiver<()>, JobSchedulerError> {
        let wait = (at - self.clock.now()).to_std().unwrap_or_default();
        let (ring, rung) = oneshot::channel();
        let mut ring = Some(ring);
        let job = Job::new_one_shot(wait, move |_, _| {
            // Nobody listens any more if the schedule has changed meanwhile.
            let _ = ring.take().map(|ring| ring.send(()));
        })?;
        self.scheduler.add(job).await?;
        Ok(rung)
    }
}

impl Alarm for WallAlarm {
    fn ring(&self, at: DateTime<Utc>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // It counts whole seconds, and may ring within the second before.
            while self.clock.now() < at {
                match self.arm(at).await {
                    Ok(rung) => drop(rung.await),
                    Err(error) => {
                        tracing::warn!("the scheduler fails, waiting without it: {error}");
                        self.clock.sleep((at - self.clock.now()).to_std().unwrap_or_default()).await;
                    }
                }
            }
        })
    }
}
