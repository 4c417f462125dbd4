// One customer in all tabs: see README.md.
export function createSession({ url, clientId = '', storage = localStorage, key = 'glueauth', onChange = () => {} }) {
	const channel = new BroadcastChannel(key)
	let pending, seen

	const read = () => { try { return JSON.parse(storage.getItem(key)) ?? {} } catch { return {} } }
	const look = () => {
		const { id } = read()
		if (id !== seen) setTimeout(onChange, 0, !!id)
		seen = id
	}
	channel.onmessage = look
	addEventListener('storage', look)
	look()

	const write = (answer, id) => {
		const retry_key = crypto.getRandomValues(new Uint8Array(16)).join('-')
		const item = { ...answer, retry_key, id: id ?? retry_key, at: Date.now() }
		if (answer.refresh_token) storage.setItem(key, JSON.stringify(item))
		else storage.removeItem(key)
		channel.postMessage(0)
		look()
		return answer.over
	}

	const ask = async (form) => {
		let reply
		const data = await fetch(url + (form.sessions ? '/revoke' : '/token'), {
			method: 'POST', body: new URLSearchParams({ ...form, client_id: clientId }), signal: AbortSignal.timeout(1e4),
		}).then((r) => (reply = r).json()).catch(() => {})
		if (reply?.ok && data && (data.refresh_token || form.sessions)) return data
		const text = data?.error_description
		if (text === 'The refresh token is invalid.') return { over: true } // only this ends a session
		throw Object.assign(Error(text), { status: reply?.status, after: reply?.headers.get('Retry-After') * 1e3 || 0 })
	}

	const tries = async (form, refused) => {
		for (let wait = 99, pause = 500 + 500 * Math.random(); ; pause *= 2) {
			await new Promise((go) => setTimeout(go, wait))
			const { refresh_token, retry_key, id } = read() // others may have asked
			if (!id || !form.sessions && used(refused) < .9) return
			try {
				const answer = await ask({ ...form, [form.grant_type ?? 'token']: refresh_token, retry_key })
				if (read().refresh_token === refresh_token) return write(answer, id)
			} catch (fault) {
				wait = Math.max(pause, fault.after)
				if (/^4(?!29)/.test(fault.status) || !(wait < 2e4)) throw fault
			}
		}
	}
	// Tabs without locks race: the server bears it.
	const spend = (...args) => {
		let job
		const run = () => job ??= tries(...args)
		return navigator.locks?.request(key, { signal: AbortSignal.timeout(6e4) }, run).catch(run) ?? run()
	}

	// Its life so far, from receipt, for clocks differ.
	const used = (refused) => {
		const item = read()
		const part = (Date.now() - item.at) / 1e3 / item.expires_in
		return part >= 0 && item.access_token !== refused ? part : 1
	}

	return {
		signIn: async (username, password) => write(await ask({ grant_type: 'password', username, password })),
		token: async (refused) => {
			look()
			if (used(refused) > .9) {
				const clear = () => { pending = 0 }
				pending ||= spend({ grant_type: 'refresh_token' }, refused)
				pending.then(clear, (fault) => setTimeout(clear, fault.after))
				if (used(refused) > .99) await pending
			}
			return read().access_token
		},
		signOut: ({ sessions = 'this' } = {}) => spend({ sessions }),
	}
}
