"""How the mesh stands on Google Cloud: settings, Firestore, Pub/Sub, identity, the function app, logs, traces, time."""
