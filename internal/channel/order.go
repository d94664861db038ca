package channel

// Providers returns the providers in the order in which an app uses them if it says nothing
// else.
func Providers() []Provider {
	return []Provider{APNs, FCM, WebPush, Huawei, Harmony, Honor, Xiaomi, OPPO, Vivo, Meizu}
}
