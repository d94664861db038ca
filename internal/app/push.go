package app

import (
	"cmp"
	"slices"
	"time"
	_ "time/tzdata" // push_quota_zone means the same on every machine, one without zone files too

	"tidings/internal/channel"
)

// Push is what an operator may choose about the pushes of an app. The zero value is the
// default. Where the default is not zero, methods of Settings return what counts.
type Push struct {
	Off      bool               `json:"off,omitempty"`           // push and batch are refused with 90045
	Gap      *time.Duration     `json:"gap,omitempty"`           // Settings.PushGap
	Quota    int                `json:"quota,omitempty"`         // pushes a day, more are refused with 90047; 0: any number
	Zone     string             `json:"quota_zone,omitempty"`    // Settings.QuotaZone
	Lifetime *time.Duration     `json:"lifetime,omitempty"`      // Settings.Lifetime
	Tasks    int                `json:"pending_tasks,omitempty"` // Settings.PendingTasks
	Pace     int                `json:"pace,omitempty"`          // messages a second of all tasks; 0: any number
	TaskPace int                `json:"task_pace,omitempty"`     // messages a second of one task; 0: any number
	Order    []channel.Provider `json:"channel_order,omitempty"` // Settings.ChannelOrder
	Drift    *int               `json:"preview_drift,omitempty"` // Settings.PreviewDrift
}

// Devices is what an operator may choose about the devices of an app. The zero value is the
// default. Where the default is not zero, methods of Settings return what counts.
type Devices struct {
	Max        int      `json:"max,omitempty"`         // Settings.DeviceLimit
	UserMax    int      `json:"user_max,omitempty"`    // Settings.DevicesAUser
	Rate       *int     `json:"rate,omitempty"`        // Settings.RegistrationRate
	SourceRate *int     `json:"source_rate,omitempty"` // Settings.RegistrationSourceRate
	Origins    []string `json:"origins,omitempty"`     // web origins that may call /v1/devices; "*" is any
}

// The defaults (spec/timpush-api.md, 6; push.md 1 to 3), and the limits of what can be
// chosen.
const (
	defaultPushGap      = time.Second
	defaultLifetime     = 24 * time.Hour
	defaultPendingTasks = 1000
	defaultDrift        = 1 // percent
	defaultDevices      = 10_000_000
	defaultDevicesAUser = 20
	defaultRate         = 1000 // a second
	defaultSourceRate   = 20   // a minute

	// MaxLifetime is the longest that a push may wait for a device: what FCM and Web Push
	// take (push.md 2).
	MaxLifetime     = 28 * 24 * time.Hour
	maxPushGap      = 24 * time.Hour
	maxPushQuota    = 1_000_000
	maxPendingTasks = 100_000
	maxDevices      = 100_000_000
	maxDevicesAUser = 1000
	maxOrigins      = 100
	maxOriginBytes  = 300
)

// or returns what a pointer points to, or a default if it is nil.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

// PushGap returns how long after one push another is refused with 90024.
func (s *Settings) PushGap() time.Duration { return or(s.Push.Gap, defaultPushGap) }

// QuotaZone returns the time zone whose days the quota of pushes counts.
func (s *Settings) QuotaZone() *time.Location {
	zone, err := time.LoadLocation(s.Push.Zone) // the empty one is UTC
	if err != nil {
		return time.UTC // the zone was known to another version of the program
	}
	return zone
}

// Lifetime returns how long a push waits for its devices if it does not say that itself.
func (s *Settings) Lifetime() time.Duration { return or(s.Push.Lifetime, defaultLifetime) }

// PendingTasks returns how many tasks of the app may be unfinished.
func (s *Settings) PendingTasks() int { return cmp.Or(s.Push.Tasks, defaultPendingTasks) }

// ChannelOrder returns all providers, in the order in which the app prefers them for a
// device that several reach.
func (s *Settings) ChannelOrder() []channel.Provider {
	order := slices.Clone(s.Push.Order)
	for _, p := range channel.Providers() {
		if !slices.Contains(order, p) {
			order = append(order, p)
		}
	}
	return order
}

// PreviewDrift returns by how many percent the devices of a push may differ from those of
// its preview.
func (s *Settings) PreviewDrift() int { return or(s.Push.Drift, defaultDrift) }

// DeviceLimit returns how many devices the app may have.
func (s *Settings) DeviceLimit() int { return cmp.Or(s.Devices.Max, defaultDevices) }

// DevicesAUser returns how many devices a user may have.
func (s *Settings) DevicesAUser() int { return cmp.Or(s.Devices.UserMax, defaultDevicesAUser) }

// RegistrationRate returns how many devices may be made in a second; 0: any number.
func (s *Settings) RegistrationRate() int { return or(s.Devices.Rate, defaultRate) }

// RegistrationSourceRate returns how many devices may be made in a minute from one address;
// 0: any number.
func (s *Settings) RegistrationSourceRate() int { return or(s.Devices.SourceRate, defaultSourceRate) }
