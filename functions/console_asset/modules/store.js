// A value that components can watch.

import { useEffect, useState } from "./html.js";

export function createStore(initial) {
  const watchers = new Set();
  let value = initial;
  return {
    get: () => value,
    set(next) {
      if (next === value) return;
      value = next;
      for (const watch of [...watchers]) watch(value);
    },
    update(changes) {
      this.set({ ...value, ...changes });
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
  };
}

export function useStore(store) {
  const [value, show] = useState(store.get());
  useEffect(() => {
    show(store.get());
    return store.watch(show);
  }, [store]);
  return value;
}
