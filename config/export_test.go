package config

// ShopValues returns what a shop's environment gives for these settings, whether or not the table has them, when given
// stands in the file.
func ShopValues(environ []string, given map[string]string, keys ...string) (map[string]string, error) {
	var table []setting
	for _, key := range keys {
		table = append(table, setting{key: key, secret: true})
	}
	values := map[string]value{}
	for key, text := range given {
		values[key] = value{raw: text, source: "file"}
	}
	if err := addShop(table, values, environ); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for key, v := range values {
		if v.shop {
			found[key], _ = v.raw.(string)
		}
	}
	return found, nil
}
