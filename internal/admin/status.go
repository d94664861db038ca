package admin

import (
	"context"
	"time"

	"tidings/internal/app"
	"tidings/internal/channel"
)

// Status is how a server is, or what shows of a data directory that no server has open.
type Status struct {
	Running bool      `json:"running"`
	Version string    `json:"version,omitempty"`
	Go      string    `json:"go,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started,omitzero"` // since when it is ready
	URL     string    `json:"url,omitempty"`
	Metrics string    `json:"metrics,omitempty"`
	Data    string    `json:"data"`

	TakesChanges bool   `json:"takes_changes"`
	Reason       string `json:"reason,omitempty"` // why it takes none, or slows them

	Apps    *int `json:"apps,omitempty"`  // nil: not known
	Users   *int `json:"users,omitempty"` // accounts that are no devices
	Devices *int `json:"devices,omitempty"`

	// Channels are those that send nothing at the moment, or less than they should.
	Channels []ChannelStatus `json:"channels,omitempty"`

	Disk struct {
		Log         int64 `json:"log"` // bytes
		KeptLog     int64 `json:"kept_log"`
		Checkpoints int64 `json:"checkpoints"`
		Tables      int64 `json:"tables"`
	} `json:"disk"`
	Checkpoint *StatusCheckpoint `json:"checkpoint,omitempty"` // the last; nil: there is none

	CertificateEnds time.Time    `json:"certificate_ends,omitzero"`
	LastError       *StatusError `json:"last_error,omitempty"`

	// Interrupted reports that no server answers, and that whoever changed the directory
	// last has not closed it: a server that is starting or was killed.
	Interrupted bool `json:"interrupted"`
}

// ChannelStatus is a certificate of an app that is blocked, or waits because its provider
// wants that, or whose dead tokens are kept because there are too many of them.
type ChannelStatus struct {
	App         uint32           `json:"sdkappid"`
	Certificate int              `json:"certificate"`
	Provider    channel.Provider `json:"provider"`
	State       string           `json:"state"` // ok, throttled, blocked
	Reason      string           `json:"reason,omitempty"`
	Since       time.Time        `json:"since,omitzero"`
	Alarm       string           `json:"alarm,omitempty"`
}

// StatusCheckpoint is the last checkpoint.
type StatusCheckpoint struct {
	Time  time.Time `json:"time"`
	Bytes int64     `json:"bytes"`
}

// StatusError is the last line of the log with level ERROR.
type StatusError struct {
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
	Error   string    `json:"error,omitempty"`
}

// Changes are what declaring an app would change.
type Changes struct {
	New      bool     `json:"new"`      // there is no such app yet
	Settings []string `json:"settings"` // in the words of the configuration
}

// status needs nothing of the service but Status.
func (s *Service) status(ctx context.Context, _ None) (Status, error) { return s.Status(ctx) }

func (s *Service) appChanges(_ context.Context, d app.Declaration) (Changes, error) {
	settings, isNew, err := s.Apps.Changes(d)
	return Changes{New: isNew, Settings: settings}, err
}

// appUndone returns what the next start sets back if the configuration is then what it
// was at the last, in its words. Without a server no configuration is known.
func (s *Service) appUndone(_ context.Context, in AppRequest) ([]string, error) {
	settings := []string{}
	if _, err := s.find(in.ID); err != nil {
		return nil, err
	}
	for _, d := range s.Declared {
		if d.ID != in.ID {
			continue
		}
		changes, _, err := s.Apps.Changes(d)
		if err != nil {
			return nil, err
		}
		settings = append(settings, changes...)
	}
	return settings, nil
}
