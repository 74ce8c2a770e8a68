// The socket that carries replies while they grow. Without one, conversations poll.

export const live = {
  connect() {},
  isOpen: () => false,
  listen: () => () => {},
};
