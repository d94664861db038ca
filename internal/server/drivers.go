package server

import (
	"fmt"
	"net/http"
	"net/url"

	"tidings/internal/channel"
	"tidings/internal/channel/fcm"
	"tidings/internal/config"
)

// drivers returns the providers that this program can reach, where and how the
// configuration says.
func drivers(cfg *config.Config) (channel.Drivers, error) {
	google := fcm.Options{
		BaseURL: cfg.FCMURL, TokenURL: cfg.FCMTokenURL,
		Connections: cfg.FCMConnections, Timeout: cfg.FCMTimeout, Rate: cfg.FCMRate, NoRamp: !cfg.FCMRamp,
	}
	if cfg.FCMRate == 0 {
		google.Rate = -1 // 0 is the driver's default
	}
	var err error
	if cfg.FCMCAFile != "" {
		if google.Roots, err = config.LoadAuthorities(cfg.FCMCAFile); err != nil {
			return nil, fmt.Errorf("fcm_ca_file: %w", err)
		}
	}
	switch cfg.FCMProxy {
	case "":
	case config.ProxyOfEnvironment:
		google.Proxy = http.ProxyFromEnvironment
	default:
		proxy, err := url.Parse(cfg.FCMProxy)
		if err != nil {
			return nil, fmt.Errorf("fcm_proxy is not a URL") // the error would show a password
		}
		google.Proxy = http.ProxyURL(proxy)
	}
	d, err := fcm.New(google)
	if err != nil {
		return nil, err
	}
	return channel.Drivers{channel.FCM: d}, nil
}
