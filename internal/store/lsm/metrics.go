package lsm

import (
	"runtime/metrics"
	"strconv"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
)

// Register adds the store's figures to a registry. Those by app are left out while there
// are more apps than byApp: all or none, for a sum over some apps would be wrong.
func (s *Store) Register(reg prometheus.Registerer, byApp int) {
	s.journal.Register(reg)
	reg.MustRegister(&collector{s, byApp})
}

// collector reads the store's figures when they are asked for.
type collector struct {
	s     *Store
	byApp int
}

var (
	usersDesc   = prometheus.NewDesc("tidings_users", "Accounts of all apps.", nil, nil)
	appDesc     = prometheus.NewDesc("tidings_app_users", "Accounts of an app. Left out of a server with more apps than metrics_apps.", []string{"app"}, nil)
	restingDesc = prometheus.NewDesc("tidings_resting_numbers", "Numbers of deleted users that were not given to others again.", nil, nil)
	oldestDesc  = prometheus.NewDesc("tidings_oldest_list_seconds", "How long the oldest list whose next page may be asked for has been kept. Numbers of users deleted since wait for it.", nil, nil)
	indexDesc   = prometheus.NewDesc("tidings_index_bytes", "Memory of the index, by part: accounts, values and tags, each with who has them, and what of devices is beyond their accounts.", []string{"part"}, nil)
	heapDesc    = prometheus.NewDesc("tidings_heap_parts_bytes", "Live memory by what it is for: the parts of the index, apps, lists whose next page may be asked for, counts of audiences, audiences of tasks, and the program itself as it was before the data directory was opened. What requests use meanwhile is not in it.", []string{"part"}, nil)
)

// Describe lists the figures.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect reads them.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	if c.s.tenants.open() != nil {
		return
	}
	var users, resting int
	var oldest time.Duration
	parts := map[string]int64{"program": c.s.program}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	all := c.s.tenants.all()
	for _, x := range all {
		x.mu.RLock()
		n, gone := x.users.Len(), x.gone
		users += n
		resting += x.users.Resting()
		m := x.users.Memory()
		x.mu.RUnlock()
		if len(all) <= c.byApp && !gone {
			gauge(appDesc, float64(n), strconv.FormatUint(uint64(x.id), 10))
		}
		oldest = max(oldest, x.pages.age())
		parts["accounts"] += m.Accounts
		parts["values"] += m.Values
		parts["tags"] += m.Tags
		parts["devices"] += m.Devices
		parts["apps"] += int64(unsafe.Sizeof(*x)) + appBytes
		parts["lists"] += x.pages.memory()
		parts["counts"] += x.estimates.memory()
	}
	parts["audiences"] = c.s.Tasks.audiences.memory()
	gauge(usersDesc, float64(users))
	gauge(restingDesc, float64(resting))
	gauge(oldestDesc, oldest.Seconds())
	for _, part := range []string{"accounts", "values", "tags", "devices"} {
		gauge(indexDesc, float64(parts[part]), part)
	}
	for part, bytes := range parts {
		gauge(heapDesc, float64(bytes), part)
	}
}

// appBytes is the rough size of the record of an app without its tenant: keys, names,
// settings.
const appBytes = 1500

// heapBytes returns the bytes of the heap that are in use, or were until the last
// collection.
func heapBytes() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}
