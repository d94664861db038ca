package journal

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Register adds the figures of log, checkpoints and tables to a registry.
func (db *DB) Register(reg prometheus.Registerer) {
	commits := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tidings_commit_duration_seconds", Buckets: durationBuckets,
		Help: "Time to make one group of changes durable and to apply it to the tables.",
	})
	syncs := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tidings_log_append_duration_seconds", Buckets: durationBuckets,
		Help: "Time to write one group of changes to the log, its fsync included.",
	})
	sizes := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "tidings_commit_bytes", Buckets: prometheus.ExponentialBuckets(64, 4, 10),
		Help: "Bytes of one group of changes.",
	})
	db.mu.Lock()
	db.observe = func(bytes int, took, log time.Duration) {
		commits.Observe(took.Seconds())
		syncs.Observe(log.Seconds())
		sizes.Observe(float64(bytes))
	}
	db.mu.Unlock()
	reg.MustRegister(commits, syncs, sizes, &collector{db})
	if m := db.tables.db.Metrics(); m.LogWriter.FsyncLatency != nil {
		reg.MustRegister(fsyncHistogram{m.LogWriter.FsyncLatency})
	}
}

// durationBuckets are the limits of the buckets of durations, in seconds.
var durationBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1}

// collector reads figures when they are asked for.
type collector struct{ db *DB }

func desc(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

var (
	positionDesc   = desc("tidings_log_position", "Position of the last group of changes that is durable.")
	logDesc        = desc("tidings_log_bytes", "Bytes of log since the last checkpoint: what a start has to read.")
	slowedDesc     = desc("tidings_changes_slowed", "1 while changes are slowed, since checkpoints do not keep up with the log, else 0.")
	runningDesc    = desc("tidings_checkpoint_running", "1 while a checkpoint is written, else 0.")
	tookDesc       = desc("tidings_checkpoint_duration_seconds", "Time that the last checkpoint took.")
	sizeDesc       = desc("tidings_checkpoint_bytes", "Size of the last checkpoint.")
	countDesc      = desc("tidings_checkpoints_total", "Checkpoints written.")
	diskDesc       = desc("tidings_store_disk_bytes", "Disk space of the tables.")
	memtableDesc   = desc("tidings_store_memtable_bytes", "Memory of changed records that are in no file of the tables yet.")
	cacheDesc      = desc("tidings_store_cache_bytes", "Memory of table blocks.")
	walDesc        = desc("tidings_store_wal_bytes_total", "Bytes written to the tables' own log.")
	compactionDesc = desc("tidings_store_compactions_total", "Compactions of tables done.")
	debtDesc       = desc("tidings_store_compaction_debt_bytes", "Estimate of what is left to compact.")
	readAmpDesc    = desc("tidings_store_read_amplification", "Files that a read may have to look into.")
)

// Describe lists the figures.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect reads them.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	db := c.db
	if err := db.enter(); err != nil {
		return
	}
	defer db.leave()
	m := db.tables.db.Metrics()
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	k := &db.checkpoints
	k.mu.Lock()
	since, last, took, count, running := k.since, k.last, k.took, k.count, 0.0
	if k.running {
		running = 1
	}
	k.mu.Unlock()
	counter(positionDesc, float64(db.Applied()))
	gauge(logDesc, float64(since))
	gauge(runningDesc, running)
	slowed := 0.0
	if k.behind.Load() {
		slowed = 1
	}
	gauge(slowedDesc, slowed)
	gauge(tookDesc, took.Seconds())
	gauge(sizeDesc, float64(last.size))
	counter(countDesc, float64(count))
	gauge(diskDesc, float64(m.DiskSpaceUsage()))
	gauge(memtableDesc, float64(m.MemTable.Size))
	gauge(cacheDesc, float64(m.BlockCache.Size))
	counter(walDesc, float64(m.WAL.BytesWritten))
	counter(compactionDesc, float64(m.Compact.Count))
	gauge(debtDesc, float64(m.Compact.EstimatedDebt))
	gauge(readAmpDesc, float64(m.ReadAmp()))
}

// fsyncHistogram is Pebble's histogram of WAL fsyncs, under our name and with our
// buckets: Pebble's is of nanoseconds, in a hundred buckets.
type fsyncHistogram struct{ of prometheus.Histogram }

var fsyncDesc = desc("tidings_store_fsync_duration_seconds", "Time of one fsync of the tables' own log, for which no change waits.")

// Describe lists the histogram.
func (f fsyncHistogram) Describe(ch chan<- *prometheus.Desc) { ch <- fsyncDesc }

// Collect copies the histogram.
func (f fsyncHistogram) Collect(ch chan<- prometheus.Metric) {
	var m dto.Metric
	if err := f.of.Write(&m); err != nil {
		return
	}
	h := m.GetHistogram()
	ch <- prometheus.MustNewConstHistogram(fsyncDesc, h.GetSampleCount(), h.GetSampleSum()/float64(time.Second), inSeconds(h.GetBucket()))
}

// inSeconds returns buckets of nanoseconds as the buckets of durations. What is in a fine
// bucket counts as its upper limit, so a time is taken for up to a fine bucket longer than
// it was.
func inSeconds(fine []*dto.Bucket) map[float64]uint64 {
	coarse := make(map[float64]uint64, len(durationBuckets))
	for _, limit := range durationBuckets {
		var n uint64
		for _, b := range fine { // ascending, and so are their counts
			if b.GetUpperBound() <= limit*float64(time.Second) {
				n = b.GetCumulativeCount()
			}
		}
		coarse[limit] = n
	}
	return coarse
}
