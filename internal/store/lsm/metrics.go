package lsm

import (
	"github.com/prometheus/client_golang/prometheus"

	"tidings/internal/index"
)

// Register adds the store's figures to a registry.
func (s *Store) Register(reg prometheus.Registerer) {
	s.journal.Register(reg)
	reg.MustRegister(&collector{s})
}

// collector reads the store's figures when they are asked for.
type collector struct{ s *Store }

var (
	usersDesc   = prometheus.NewDesc("tidings_users", "Accounts of all apps.", nil, nil)
	restingDesc = prometheus.NewDesc("tidings_resting_numbers", "Numbers of deleted users that were not given to others again.", nil, nil)
	indexDesc   = prometheus.NewDesc("tidings_index_bytes", "Memory of the index, by part: accounts, values and tags, each with who has them.", []string{"part"}, nil)
)

// Describe lists the figures.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect reads them.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	if c.s.Ready() != nil && c.s.tenants.open() != nil {
		return
	}
	var users, resting int
	var memory index.Memory
	for _, x := range c.s.tenants.all() {
		x.mu.RLock()
		users += x.users.Len()
		resting += x.users.Resting()
		m := x.users.Memory()
		x.mu.RUnlock()
		memory.Accounts += m.Accounts
		memory.Values += m.Values
		memory.Tags += m.Tags
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(usersDesc, float64(users))
	gauge(restingDesc, float64(resting))
	for part, bytes := range map[string]int64{"accounts": memory.Accounts, "values": memory.Values, "tags": memory.Tags} {
		gauge(indexDesc, float64(bytes), part)
	}
}
