package lsm

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"tidings/internal/index"
)

// Register adds the store's figures to a registry.
func (s *Store) Register(reg prometheus.Registerer) {
	commits := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "tidings_commit_duration_seconds",
		Help:    "Time to make one group of changes durable: write, fsync.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
	})
	sizes := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "tidings_commit_records",
		Help:    "Records written by one group of changes.",
		Buckets: prometheus.ExponentialBuckets(1, 4, 9),
	})
	s.commit.mu.Lock()
	s.commit.observe = func(records int, took time.Duration) {
		commits.Observe(took.Seconds())
		sizes.Observe(float64(records))
	}
	s.commit.mu.Unlock()
	reg.MustRegister(commits, sizes, &collector{s})
	if m := s.db.Metrics(); m.LogWriter.FsyncLatency != nil {
		reg.MustRegister(fsyncHistogram{m.LogWriter.FsyncLatency})
	}
}

// collector reads the store's figures when they are asked for.
type collector struct{ s *Store }

var (
	usersDesc    = prometheus.NewDesc("tidings_users", "Accounts of all apps.", nil, nil)
	indexDesc    = prometheus.NewDesc("tidings_index_bytes", "Memory of the index, by part: accounts, values and tags, each with who has them.", []string{"part"}, nil)
	diskDesc     = prometheus.NewDesc("tidings_store_disk_bytes", "Disk space of the database.", nil, nil)
	memtableDesc = prometheus.NewDesc("tidings_store_memtable_bytes", "Memory of changes not yet in tables.", nil, nil)
	cacheDesc    = prometheus.NewDesc("tidings_store_cache_bytes", "Memory of table blocks.", nil, nil)
	walDesc      = prometheus.NewDesc("tidings_store_wal_bytes_total", "Bytes written to the write-ahead log.", nil, nil)
	compactDesc  = prometheus.NewDesc("tidings_store_compactions_total", "Compactions done.", nil, nil)
	debtDesc     = prometheus.NewDesc("tidings_store_compaction_debt_bytes", "Estimate of what is left to compact.", nil, nil)
	readAmpDesc  = prometheus.NewDesc("tidings_store_read_amplification", "Tables a read may have to look into.", nil, nil)
)

// Describe lists the figures.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect reads them.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	if err := c.s.enter(); err != nil {
		return
	}
	defer c.s.leave()
	users, index := c.s.size()
	m := c.s.db.Metrics()
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	counter := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
	}
	gauge(usersDesc, float64(users))
	for part, bytes := range map[string]int64{"accounts": index.Accounts, "values": index.Values, "tags": index.Tags} {
		ch <- prometheus.MustNewConstMetric(indexDesc, prometheus.GaugeValue, float64(bytes), part)
	}
	gauge(diskDesc, float64(m.DiskSpaceUsage()))
	gauge(memtableDesc, float64(m.MemTable.Size))
	gauge(cacheDesc, float64(m.BlockCache.Size))
	counter(walDesc, float64(m.WAL.BytesWritten))
	counter(compactDesc, float64(m.Compact.Count))
	gauge(debtDesc, float64(m.Compact.EstimatedDebt))
	gauge(readAmpDesc, float64(m.ReadAmp()))
}

// size counts the accounts of all apps and the memory of their index.
func (s *Store) size() (users int, memory index.Memory) {
	for _, id := range s.AppIDs() {
		u := s.find(id)
		if u == nil {
			continue // deleted meanwhile
		}
		u.mu.RLock()
		users += u.index.Len()
		m := u.index.Memory()
		u.mu.RUnlock()
		memory.Accounts += m.Accounts
		memory.Values += m.Values
		memory.Tags += m.Tags
	}
	return users, memory
}

// fsyncHistogram is Pebble's histogram of WAL fsyncs, which is in nanoseconds,
// in seconds and under our name.
type fsyncHistogram struct{ prometheus.Histogram }

var fsyncDesc = prometheus.NewDesc("tidings_fsync_duration_seconds", "Time of one fsync of the write-ahead log.", nil, nil)

// Describe lists the histogram.
func (f fsyncHistogram) Describe(ch chan<- *prometheus.Desc) { ch <- fsyncDesc }

// Collect copies the histogram.
func (f fsyncHistogram) Collect(ch chan<- prometheus.Metric) { ch <- inSeconds{f.Histogram} }

// inSeconds is a histogram of nanoseconds, written in seconds.
type inSeconds struct{ prometheus.Metric }

// Desc is our name.
func (inSeconds) Desc() *prometheus.Desc { return fsyncDesc }

// Write converts.
func (h inSeconds) Write(m *dto.Metric) error {
	if err := h.Metric.Write(m); err != nil {
		return err
	}
	const unit = float64(time.Second)
	m.Histogram.SampleSum = proto.Float64(m.Histogram.GetSampleSum() / unit)
	for _, b := range m.Histogram.Bucket {
		b.UpperBound = proto.Float64(b.GetUpperBound() / unit)
	}
	return nil
}
