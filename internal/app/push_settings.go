package app

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"tidings/internal/channel"
	"tidings/internal/wording"
)

// pushSettings returns the rows about pushes.
func pushSettings(s *Settings, d *Declaration) []Setting {
	return []Setting{
		{
			"push", "push", "", "true",
			"Whether `push` and `batch` work. If not, they are answered 90045.",
			&one[bool]{kind: boolean, given: &d.Push, place: place[bool]{
				get: func() bool { return !s.Push.Off },
				set: func(works bool) error { s.Push.Off = !works; return nil },
			}},
		},
		{
			"push_gap", "push-gap", "DURATION", "1s",
			"How long after one `push` the next is refused with 90024, at most 1d. 0 is not at all.",
			&one[wording.Span]{kind: span, given: &d.PushGap, place: spanField(&s.Push.Gap, s.PushGap), valid: spanUpTo(maxPushGap)},
		},
		{
			"push_quota", "push-quota", "N", "0",
			"The most `push` calls in a day; 0 is no limit. More are refused with 90047. The hosted service allows 100.",
			&one[int]{kind: number, given: &d.PushQuota, place: field(&s.Push.Quota), valid: upTo(maxPushQuota, "a number of pushes a day from 0 (no limit)")},
		},
		{
			"push_quota_zone", "push-quota-zone", "ZONE", "UTC",
			"Time zone whose days `push_quota` counts, such as `Asia/Shanghai`.",
			&one[string]{kind: text.named("time zone"), given: &d.PushQuotaZone, place: place[string]{
				get: func() string { return cmp.Or(s.Push.Zone, "UTC") },
				set: func(zone string) error { s.Push.Zone = zone; return nil },
			}, valid: validZone},
		},
		{
			"lifetime", "lifetime", "DURATION", "1d",
			"How long a push waits for a device that cannot be reached, if the push does not say it, at most 28d. 0 is now or never.",
			&one[wording.Span]{kind: span, given: &d.Lifetime, place: spanField(&s.Push.Lifetime, s.Lifetime), valid: validLifetime},
		},
		{
			"pending_tasks", "pending-tasks", "N", "1000",
			"The most push tasks that may be unfinished, those of later among them. From 1 to 100000.",
			&one[int]{kind: number, given: &d.PendingTasks, place: place[int]{
				get: s.PendingTasks,
				set: func(n int) error { s.Push.Tasks = n; return nil },
			}, valid: within(1, maxPendingTasks, "a number of tasks from 1")},
		},
		{
			"push_pace", "push-pace", "N", "0",
			"Messages a second of all push tasks together; 0 is as fast as the providers take them.",
			&one[int]{kind: number, given: &d.PushPace, place: field(&s.Push.Pace), valid: upTo(MaxLimit, "a number of messages a second from 0 (no limit)")},
		},
		{
			"task_pace", "task-pace", "N", "0",
			"Messages a second of one push task; 0 is as `push_pace` allows.",
			&one[int]{kind: number, given: &d.TaskPace, place: field(&s.Push.TaskPace), valid: upTo(MaxLimit, "a number of messages a second from 0 (no limit)")},
		},
		{
			"channel_order", "channel", "PROVIDER", "apns, fcm, webpush, huawei, harmony, honor, xiaomi, oppo, vivo, meizu",
			"Providers in the order in which a device is reached that several can reach. Those that are not listed come after, in the order of the default.",
			&list[channel.Provider]{kind: word(channel.Providers()...).named("provider"), given: &d.ChannelOrder, place: listField(&s.Push.Order), valid: validProvider, validAll: validOrder},
		},
		{
			"preview_drift", "preview-drift", "PERCENT", "1",
			"By how many percent the devices of a push may differ from those of the preview that it names. A push that differs by more is refused with 95011. From 0 to 100.",
			&one[int]{kind: number, given: &d.PreviewDrift, place: place[int]{
				get: s.PreviewDrift,
				set: func(n int) error { s.Push.Drift = &n; return nil },
			}, valid: upTo(100, "a percentage from 0")},
		},
	}
}

// deviceSettings returns the rows about devices.
func deviceSettings(s *Settings, d *Declaration) []Setting {
	return []Setting{
		{
			"device_limit", "device-limit", "N", "10000000",
			"The most devices the app may have. From 1 to 100000000.",
			&one[int]{kind: number, given: &d.DeviceLimit, place: place[int]{
				get: s.DeviceLimit,
				set: func(n int) error { s.Devices.Max = n; return nil },
			}, valid: within(1, maxDevices, "a number of devices from 1")},
		},
		{
			"devices_a_user", "devices-a-user", "N", "20",
			"The most devices a user may have. With one more, the device that was idle longest leaves the user. From 1 to 1000.",
			&one[int]{kind: number, given: &d.DevicesAUser, place: place[int]{
				get: s.DevicesAUser,
				set: func(n int) error { s.Devices.UserMax = n; return nil },
			}, valid: within(1, maxDevicesAUser, "a number of devices from 1")},
		},
		{
			"registration_rate", "registration-rate", "N", "1000",
			"Devices that can be made in a second; 0 is no limit.",
			&one[int]{kind: number, given: &d.RegistrationRate, place: place[int]{
				get: s.RegistrationRate,
				set: func(n int) error { s.Devices.Rate = &n; return nil },
			}, valid: upTo(MaxLimit, "a number of devices a second from 0 (no limit)")},
		},
		{
			"registration_source_rate", "registration-source-rate", "N", "20",
			"Devices that can be made in a minute from one source address; 0 is no limit. Set `trusted_proxies` first if the server is behind a proxy.",
			&one[int]{kind: number, given: &d.RegistrationSourceRate, place: place[int]{
				get: s.RegistrationSourceRate,
				set: func(n int) error { s.Devices.SourceRate = &n; return nil },
			}, valid: upTo(MaxLimit, "a number of devices a minute from 0 (no limit)")},
		},
		{
			"device_origins", "device-origin", "ORIGIN", "none",
			"Web origins whose pages may register devices from a browser. Written `https://shop.example.com`; `*` is every origin.",
			&list[string]{kind: kind[string]{typ: "origin", parse: wording.ParseOrigin}, given: &d.DeviceOrigins, place: listField(&s.Devices.Origins), valid: validOrigin, validAll: validOrigins},
		},
	}
}

// spanField returns the place of a duration whose nil is a default.
func spanField(p **time.Duration, get func() time.Duration) place[wording.Span] {
	return place[wording.Span]{
		func() wording.Span { return wording.Span(get()) },
		func(s wording.Span) error { *p = new(time.Duration(s)); return nil },
	}
}

// spanUpTo returns the check of a duration from 0 to a limit.
func spanUpTo(limit time.Duration) func(wording.Span) error {
	return func(s wording.Span) error {
		if d := time.Duration(s); d < 0 || d > limit {
			return fmt.Errorf("%s is not a time from 0 to %s", s, wording.Span(limit))
		}
		return nil
	}
}

func validLifetime(s wording.Span) error {
	if time.Duration(s)%time.Second != 0 {
		return fmt.Errorf("%s is not a time in whole seconds", s) // as providers take it
	}
	return spanUpTo(MaxLifetime)(s)
}

// validZone refuses Local too, which is another zone on another machine.
func validZone(zone string) error {
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" || zone == "" {
		return fmt.Errorf("%s is not a time zone such as UTC or Asia/Shanghai", wording.Quote(zone))
	}
	return nil
}

func validProvider(p channel.Provider) error {
	if !slices.Contains(channel.Providers(), p) {
		return fmt.Errorf("%s is no provider", wording.Quote(string(p)))
	}
	return nil
}

func validOrder(order []channel.Provider) error {
	for i, p := range order {
		if slices.Contains(order[:i], p) {
			return fmt.Errorf("%s is there twice", wording.Quote(string(p)))
		}
	}
	return nil
}

// validOrigin checks what came as JSON, which no parser has read.
func validOrigin(s string) error {
	if len(s) > maxOriginBytes {
		return fmt.Errorf("is longer than %d bytes", maxOriginBytes)
	}
	parsed, err := wording.ParseOrigin(s)
	if err == nil && parsed != s {
		return errors.New("is not in lower case, as browsers send it")
	}
	return err
}

func validOrigins(origins []string) error {
	if len(origins) > maxOrigins {
		return fmt.Errorf("has %d origins, an app may have %d", len(origins), maxOrigins)
	}
	return nil
}
